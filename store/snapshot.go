package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/fsm"
)

// Snapshot is the state of a group at one moment, as a stream that an [Install]
// of another node takes. Making one writes what is in memory and does not depend
// on how much there is otherwise; while it is open the files of its moment stay on disk.
type Snapshot struct {
	g      *GroupState
	header Header
	it     *pebble.Iterator
	gen    uint64
	base   uint64 // the group's byte count at the moment of the snapshot

	buf   []byte // bytes to hand out: the header, a frame, or zeros
	off   int
	frame []byte // memory of buf
	chain uint32
	sent  uint64
	rows  uint64
	bytes uint64
	stage stage
	err   error
}

// stage says what a stream is at.
type stage uint8

const (
	atRowsStart stage = iota
	atRows
	atZeros
)

// scanExactMax is up to which size a snapshot counts its rows beforehand, which
// takes tens of milliseconds; beyond it the running count serves as the bound.
const scanExactMax = 32 << 20

// Snapshot takes one. It makes the state durable first, so that the stream, which
// may take minutes, holds no memory and comes from the tables alone.
func (g *GroupState) Snapshot() (*Snapshot, error) {
	if err := g.s.usable(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	gen := g.gen // before the position is written, which then is of this count or of an older one
	g.mu.Unlock()
	if err := g.Barrier(); err != nil {
		return nil, err
	}
	lower, upper := groupSpan(g.id)
	it, err := g.s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, readError("snapshot", err)
	}
	s := &Snapshot{g: g, it: it, gen: gen}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, it.Close())
	}
	return s, nil
}

// prepare reads the store's rows at the moment of the snapshot and settles the
// size.
func (s *Snapshot) prepare() error {
	var pos position
	var cfg configuration
	err := s.ownRow(appliedKey(s.g.id), func(b []byte) (err error) {
		pos, err = readPosition(b)
		return err
	})
	if err != nil {
		return err
	}
	err = s.ownRow(configurationKey(s.g.id), func(b []byte) (err error) {
		cfg, err = readConfiguration(b)
		return err
	})
	if err != nil {
		return err
	}
	s.base = pos.bytes
	s.header = Header{
		Group: s.g.id, Index: pos.index, Term: pos.term,
		ConfigurationIndex: cfg.index, Configuration: cfg.data,
	}
	bound := pos.bytes
	if exact, err := s.tooLoose(bound); err != nil {
		return err
	} else if exact {
		rows, bytes, err := s.count()
		if err != nil {
			return err
		}
		bound = bytes
		s.g.recount(s.gen, s.base, rows, bytes)
	}
	s.header.Size = streamBound(s.header, bound)
	s.frame = s.header.appendTo(make([]byte, 0, frameTarget+64<<10))
	s.buf = s.frame
	s.chain = crcOf(s.buf)
	return nil
}

func (s *Snapshot) ownRow(key []byte, fn func([]byte) error) error {
	if !s.it.SeekPrefixGE(key) {
		return readError("snapshot", s.it.Error())
	}
	val, err := s.it.ValueAndErr()
	if err != nil {
		return readError("snapshot", err)
	}
	return fn(val)
}

// tooLoose says whether the running count, which includes overwritten and
// deleted rows, is to be replaced by a count of what there is.
func (s *Snapshot) tooLoose(bound uint64) (bool, error) {
	s.g.mu.Lock()
	doubt := s.g.doubt
	s.g.mu.Unlock()
	if doubt || bound <= scanExactMax {
		return true, nil
	}
	lower, upper := groupSpan(s.g.id)
	onDisk, err := s.g.s.db.EstimateDiskUsage(lower, upper)
	if err != nil {
		return false, readError("snapshot", err)
	}
	return bound > 4*onDisk+8*scanExactMax, nil
}

// count visits every row.
func (s *Snapshot) count() (rows, bytes uint64, err error) {
	for ok := s.it.SeekGE(s.g.lower); ok; ok = s.it.Next() {
		val := s.it.LazyValue()
		rows++
		bytes += rowBytes(len(s.it.Key())-fsm.GroupBytes, val.Len())
	}
	return rows, bytes, readError("snapshot", s.it.Error())
}

// Header is what the stream begins with; its Size is exact.
func (s *Snapshot) Header() Header { return s.header }

// Read gives the stream.
func (s *Snapshot) Read(p []byte) (int, error) {
	for s.off == len(s.buf) {
		if s.err == nil {
			s.err = s.fill()
		}
		if s.err != nil {
			return 0, s.err
		}
	}
	n := copy(p, s.buf[s.off:])
	s.off += n
	return n, nil
}

// fill makes the next piece of the stream.
func (s *Snapshot) fill() error {
	s.sent += uint64(len(s.buf))
	s.off = 0
	if s.stage == atZeros {
		left := s.header.Size - s.sent
		if left == 0 {
			return io.EOF
		}
		s.buf = s.frame[:min(left, uint64(cap(s.frame)))]
		clear(s.buf)
		return nil
	}
	s.buf = append(s.frame[:0], make([]byte, frameHead)...)
	if err := s.fillRows(); err != nil {
		return err
	}
	kind := byte(frameRows)
	if len(s.buf) == frameHead {
		kind = frameEnd
		s.buf = binary.BigEndian.AppendUint64(s.buf, s.rows)
		s.buf = binary.BigEndian.AppendUint64(s.buf, s.bytes)
		s.stage = atZeros
		s.g.recount(s.gen, s.base, s.rows, s.bytes)
	}
	s.chain = sealFrame(s.buf, kind, s.chain)
	s.frame = s.buf
	if s.sent+uint64(len(s.buf)) > s.header.Size {
		s.g.mu.Lock()
		s.g.doubt = true // the next one is counted beforehand
		s.g.mu.Unlock()
		return fmt.Errorf("snapshot of group %d is larger than its bound of %d bytes", s.g.id, s.header.Size)
	}
	return nil
}

func (s *Snapshot) fillRows() error {
	var ok bool
	if s.stage == atRowsStart {
		s.stage = atRows
		ok = s.it.SeekGE(s.g.lower)
	} else {
		ok = s.it.Valid()
	}
	for ok && len(s.buf) < frameTarget+frameHead {
		val, err := s.it.ValueAndErr()
		if err != nil {
			return readError("snapshot", err)
		}
		key := s.it.Key()[fsm.GroupBytes:]
		s.buf = appendRow(s.buf, key, val)
		s.rows++
		s.bytes += rowBytes(len(key), len(val))
		ok = s.it.Next()
	}
	return readError("snapshot", s.it.Error())
}

// Close frees the snapshot.
func (s *Snapshot) Close() error { return readError("snapshot", s.it.Close()) }

// recount sets the running count of the group's bytes to what a full pass found,
// plus what was written since. It is stored with the next barrier: a later pass
// begins from the position on disk and would subtract the same again.
func (g *GroupState) recount(gen, base, rows, bytes uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gen != gen || g.pos.bytes < base {
		return
	}
	g.doubt = false
	if bytes == base {
		return
	}
	g.pos.bytes = g.pos.bytes - base + bytes
	g.pos.rows = max(rows, 1)
	g.gen++ // nor may another pass of the same time
	g.dirty = true
}
