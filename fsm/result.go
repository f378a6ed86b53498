package fsm

import (
	"encoding/binary"
	"errors"

	"github.com/chatnode/chatnode/chat"
)

// Result is the answer to one command.
type Result struct {
	Code chat.Code
	Msg  string // what to do, for a person; "" when the code says it all
	Ack  chat.Ack
	Data []byte // what a meta command answers besides; nil for conversations
}

// Limits of a result.
const (
	resultTextMax = 1 << 10
	resultDataMax = 1 << 20
)

// Refuse makes the result of a refused command.
func Refuse(code chat.Code, msg string) Result { return Result{Code: code, Msg: msg} }

// Err is the result as an error of an operation: nil when it was accepted.
func (r Result) Err(op string) error {
	if r.Code == chat.OK {
		return nil
	}
	return chat.E(op, r.Code, r.Msg, nil)
}

const (
	resultDup  = 1 << 0
	resultAck  = 1 << 1
	resultData = 1 << 2
	resultAll  = resultDup | resultAck | resultData
)

// Append appends the encoded result to dst: flags, code, text, then the ack and
// the data when the flags say so.
func (r Result) Append(dst []byte) []byte {
	var flags byte
	if r.Ack.Dup {
		flags |= resultDup
	}
	if r.Ack != (chat.Ack{}) {
		flags |= resultAck
	}
	if len(r.Data) > 0 {
		flags |= resultData
	}
	dst = append(dst, flags, byte(len(r.Code)))
	dst = append(dst, r.Code...)
	msg := r.Msg[:min(len(r.Msg), resultTextMax)]
	dst = binary.AppendUvarint(dst, uint64(len(msg)))
	dst = append(dst, msg...)
	if flags&resultAck != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.Ack.Seq))
		dst = binary.AppendUvarint(dst, uint64(r.Ack.MsgNo))
		dst = binary.AppendVarint(dst, r.Ack.TimeMS)
		dst = append(dst, r.Ack.Root[:]...)
	}
	if flags&resultData != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(r.Data)))
		dst = append(dst, r.Data...)
	}
	return dst
}

var errResult = errors.New("malformed result")

// ReadResult decodes exactly one result. Nothing of b is kept.
func ReadResult(b []byte) (Result, error) {
	var r Result
	if len(b) < 2 || b[0]&^resultAll != 0 || b[0]&(resultDup|resultAck) == resultDup {
		return r, errResult
	}
	flags, n := b[0], int(b[1])
	b = b[2:]
	if len(b) < n {
		return r, errResult
	}
	r.Code, b = chat.Code(b[:n]), b[n:]
	msg, b, ok := readBytes(b, resultTextMax)
	if !ok {
		return r, errResult
	}
	r.Msg = string(msg)
	if flags&resultAck != 0 {
		if r.Ack, b, ok = readAck(b); !ok {
			return r, errResult
		}
		r.Ack.Dup = flags&resultDup != 0
	}
	if flags&resultData != 0 {
		data, rest, ok := readBytes(b, resultDataMax)
		if !ok || len(data) == 0 {
			return r, errResult
		}
		r.Data, b = append([]byte(nil), data...), rest
	}
	if len(b) != 0 {
		return r, errResult
	}
	return r, nil
}

func readAck(b []byte) (a chat.Ack, rest []byte, ok bool) {
	seq, n := binary.Uvarint(b)
	if n <= 0 {
		return a, nil, false
	}
	b = b[n:]
	no, n := binary.Uvarint(b)
	if n <= 0 {
		return a, nil, false
	}
	b = b[n:]
	ms, n := binary.Varint(b)
	if n <= 0 || len(b[n:]) < len(a.Root) {
		return a, nil, false
	}
	b = b[n:]
	a.Seq, a.MsgNo, a.TimeMS = chat.Seq(seq), chat.MsgNo(no), ms
	copy(a.Root[:], b)
	return a, b[len(a.Root):], true
}

// readBytes reads a length and as many bytes.
func readBytes(b []byte, bytesMax int) (field, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(bytesMax) || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true
}
