package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/mem"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// A frame is: acknowledged u8 (frames of the other direction) ‖ items. An item
// is: kind u8 ‖ id uvarint ‖ length uvarint ‖ body.
//
// The kinds and their bodies. Numbers go between nodes of different versions
// and are never used again.
const (
	kindPropose  byte = 1  // group uvarint ‖ command
	kindRead     byte = 2  // group uvarint ‖ milliseconds uvarint ‖ request
	kindPing     byte = 3  //
	kindResult   byte = 4  // fsm.Result
	kindFail     byte = 5  // code str8 ‖ leader str8 ‖ retry ms uvarint ‖ message
	kindData     byte = 6  // answer of a read
	kindPong     byte = 7  // epoch uvarint ‖ led groups, each uvarint
	kindAttach   byte = 8  // conversation
	kindDetach   byte = 9  // conversation
	kindAttached byte = 10 // conversation; the id is that of the attach, as in lost
	kindEntry    byte = 11 // conv.AppendEntry
	kindGap      byte = 12 // conversation
	kindLost     byte = 13 // conversation
)

// Limits of what goes between nodes.
const (
	frameBytesSoft = 256 << 10 // a frame is closed when it has as many
	itemBytesMax   = fsm.CommandBytesMax + 4<<10
	frameBytesMax  = frameBytesSoft + itemBytesMax + 64
	answerBytesMax = fsm.CommandBytesMax // of a read; a page has at most chat.PageBytesMax and one entry
	messageMax     = 512                 // of an error's text
)

var errFrame = errors.New("malformed frame")

// item is one item of a received frame; body is a part of the frame.
type item struct {
	kind byte
	id   uint64
	body []byte
}

// nextItem cuts the first item from b.
func nextItem(b []byte) (it item, rest []byte, err error) {
	if len(b) < 3 {
		return it, nil, errFrame
	}
	it.kind, b = b[0], b[1:]
	id, n := binary.Uvarint(b)
	if n <= 0 {
		return it, nil, errFrame
	}
	size, m := binary.Uvarint(b[n:])
	if m <= 0 || size > itemBytesMax || size > uint64(len(b)-n-m) {
		return it, nil, errFrame
	}
	b = b[n+m:]
	it.id, it.body = id, b[:size:size]
	return it, b[size:], nil
}

// appendItem appends an item whose body is head and then tail.
func appendItem(dst []byte, kind byte, id uint64, head, tail []byte) []byte {
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, id)
	dst = binary.AppendUvarint(dst, uint64(len(head)+len(tail)))
	dst = append(dst, head...)
	return append(dst, tail...)
}

// cutUvarint cuts a number of at most most from b.
func cutUvarint(b []byte, most uint64) (v uint64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > most {
		return 0, nil, errFrame
	}
	return v, b[n:], nil
}

// cutStr8 cuts a string behind a byte of length from b.
func cutStr8(b []byte) (s string, rest []byte, err error) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return "", nil, errFrame
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], nil
}

func appendStr8(dst []byte, s string) []byte {
	s = s[:min(len(s), 255)]
	return append(append(dst, byte(len(s))), s...)
}

func convOf(body []byte) (chat.ConvID, error) {
	if s := string(body); chat.ValidID(s) {
		return chat.ConvID(s), nil
	}
	return "", errFrame
}

// frame is a message of gRPC: out is to be sent, in was received.
type frame struct {
	out   *[]byte
	in    []byte
	owned bool       // in is this frame's own memory, for ever
	from  mem.Buffer // which in shares, when it is not owned
}

// free gives the memory of a received frame back.
func (f *frame) free() {
	if f.from != nil {
		f.from.Free()
	}
	f.in, f.from = nil, nil
}

// rawCodec lets gRPC carry frames as they are.
type rawCodec struct{ pool *bytePool }

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "chatnode-frame" }

// Marshal implements encoding.CodecV2. It gives the frame's buffer away.
func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok || f.out == nil {
		return nil, fmt.Errorf("%w: %T is no frame", errFrame, v)
	}
	out := f.out
	f.out = nil
	return mem.BufferSlice{mem.NewBuffer(out, c.pool)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("%w: %T is no frame", errFrame, v)
	}
	f.free()
	if f.owned {
		f.in = data.Materialize()
		return nil
	}
	f.from = data.MaterializeToBuffer(c.pool)
	f.in = f.from.ReadOnlyData()
	return nil
}

// bytePool keeps buffers of frames.
type bytePool struct{ p sync.Pool }

// Get implements mem.BufferPool.
func (b *bytePool) Get(length int) *[]byte {
	if got, ok := b.p.Get().(*[]byte); ok && cap(*got) >= length {
		*got = (*got)[:length]
		return got
	}
	buf := make([]byte, length, max(length, 8<<10))
	return &buf
}

// Put implements mem.BufferPool. Large buffers are left to the collector.
func (b *bytePool) Put(buf *[]byte) {
	if cap(*buf) <= 2*frameBytesSoft {
		*buf = (*buf)[:0]
		b.p.Put(buf)
	}
}
