package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chatnode/chatnode/fsm"
)

// Install takes a snapshot stream and makes it the state of the group. Write
// checks what arrives and writes it to tables; nothing of it is visible before
// Commit, which swaps the group's whole range at once. One goroutine uses it.
type Install struct {
	g      *GroupState
	header Header
	buf    []byte // of the header or frame that is not complete yet
	chain  uint32
	seen   uint64
	stage  installStage
	rows   uint64
	bytes  uint64
	last   []byte // key of the last row
	key    []byte
	tables tables
	err    error
}

type installStage uint8

const (
	wantHeader installStage = iota
	wantFrame
	wantZeros
)

// ErrIncomplete means an install ended before its stream did.
var ErrIncomplete = errors.New("snapshot stream is not complete")

// NewInstall begins one. It must be ended with Commit or Abort.
func (g *GroupState) NewInstall() (*Install, error) {
	if err := g.s.usable(); err != nil {
		return nil, err
	}
	// As compactions write for the last level, which is where they come to lie.
	last := len(g.s.opts.Levels) - 1
	return &Install{g: g, tables: tables{s: g.s, prefix: installPrefix, group: g.id, level: last}}, nil
}

// Header is that of the stream; ok is false until it has arrived.
func (in *Install) Header() (h Header, ok bool) { return in.header, in.stage != wantHeader }

// Write takes the next bytes of the stream, in pieces of any size. After an
// error the install can only be aborted.
func (in *Install) Write(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	total := len(p)
	for len(p) > 0 && in.err == nil {
		if in.stage == wantZeros {
			in.err = in.takeZeros(p)
			break
		}
		p, in.err = in.take(p)
	}
	if in.err != nil {
		return 0, in.err
	}
	return total, nil
}

// take moves bytes into the buffer until it holds a complete header or frame,
// and handles that.
func (in *Install) take(p []byte) (rest []byte, err error) {
	for {
		need, err := in.need()
		if err != nil {
			return nil, err
		}
		if len(in.buf) == need {
			break
		}
		n := min(need-len(in.buf), len(p))
		in.buf = append(in.buf, p[:n]...)
		p = p[n:]
		if len(in.buf) < need {
			return p, nil
		}
	}
	in.seen += uint64(len(in.buf))
	if in.stage == wantHeader {
		err = in.takeHeader()
	} else {
		err = in.takeFrame()
	}
	in.buf = in.buf[:0]
	return p, err
}

// need is the length of what is being gathered, as far as it is known.
func (in *Install) need() (int, error) {
	if in.stage == wantHeader {
		return headerNeed(in.buf)
	}
	if len(in.buf) < frameHead {
		return frameHead, nil
	}
	n := binary.BigEndian.Uint32(in.buf[1:])
	if n > frameBytesMax || in.buf[0] != frameRows && in.buf[0] != frameEnd {
		return 0, corrupt("snapshot frame", nil)
	}
	return frameHead + int(n), nil
}

func (in *Install) takeHeader() error {
	h, err := readHeader(in.buf)
	if err != nil {
		return err
	}
	if h.Group != in.g.id {
		return fmt.Errorf("snapshot of group %d for group %d", h.Group, in.g.id)
	}
	if h.Size < in.seen {
		return corrupt("snapshot header", nil)
	}
	in.header, in.chain, in.stage = h, crcOf(in.buf), wantFrame
	return nil
}

func (in *Install) takeFrame() error {
	sum := frameSum(in.buf, in.chain)
	if sum != binary.BigEndian.Uint32(in.buf[5:]) || in.seen > in.header.Size {
		return corrupt("snapshot frame", nil)
	}
	in.chain = sum
	payload := in.buf[frameHead:]
	if in.buf[0] == frameRows {
		return in.takeRows(payload)
	}
	if len(payload) != endBytes || binary.BigEndian.Uint64(payload) != in.rows ||
		binary.BigEndian.Uint64(payload[8:]) != in.bytes {
		return corrupt("snapshot end", nil)
	}
	in.stage = wantZeros
	return in.tables.close()
}

func (in *Install) takeRows(payload []byte) error {
	for len(payload) > 0 {
		key, val, rest, ok := cutRow(payload)
		if !ok || key[0] <= fsm.AreaStore || bytes.Compare(key, in.last) <= 0 {
			return corrupt("snapshot row", nil)
		}
		payload = rest
		in.last = append(in.last[:0], key...)
		in.key = append(append(in.key[:0], groupKey(in.g.id)...), key...)
		in.rows++
		in.bytes += rowBytes(len(key), len(val))
		if err := in.tables.put(in.key, val, false); err != nil {
			return err
		}
	}
	return nil
}

func (in *Install) takeZeros(p []byte) error {
	in.seen += uint64(len(p))
	if in.seen > in.header.Size {
		return corrupt("snapshot tail", nil)
	}
	for _, b := range p {
		if b != 0 {
			return corrupt("snapshot tail", nil)
		}
	}
	return nil
}

// Commit makes the snapshot the state of the group, durably. The state is the
// old one when it returns an error. A snapshot older than the state is refused.
func (in *Install) Commit() error {
	if in.err == nil && (in.stage != wantZeros || in.seen != in.header.Size) {
		in.err = ErrIncomplete
	}
	if index, _ := in.g.Applied(); in.err == nil && in.header.Index < index {
		in.err = fmt.Errorf("snapshot at index %d is behind the applied %d: %w", in.header.Index, index, ErrOrder)
	}
	if in.err == nil {
		in.err = in.putOwnRows()
	}
	if in.err == nil {
		in.err = in.g.replace(in.tables.paths)
	}
	if in.err != nil {
		err := in.err
		in.Abort()
		return err
	}
	in.err = ErrClosed
	return nil
}

// putOwnRows writes the table of the store's rows, which come before all others.
func (in *Install) putOwnRows() error {
	h := in.header
	pos := position{index: h.Index, term: h.Term, rows: in.rows, bytes: in.bytes}
	cfg := configuration{index: h.ConfigurationIndex, data: h.Configuration}
	if err := in.tables.putOwn(pos, cfg); err != nil {
		return err
	}
	return in.tables.close()
}

// Abort removes what was written. It may follow Commit and does nothing then.
func (in *Install) Abort() {
	if errors.Is(in.err, ErrClosed) {
		return
	}
	in.err = ErrClosed
	in.tables.remove()
}
