package store

import (
	"sync/atomic"

	"github.com/chatnode/chatnode/store/rowbuf"
)

// layer is rows of a group that are not in a table yet: the active one, which
// batches add to, or the frozen one, which is being written.
type layer struct {
	buf *rowbuf.Buffer
	end rowbuf.Mark // of a frozen layer: behind its last row
}

// memory is the layers of a group at one moment, newest first.
type memory struct {
	snaps [2]rowbuf.Snap
	seq   uint64 // number of the last layer that was frozen
	index uint64 // applied
}

// memory gives the layers as they are now.
func (g *GroupState) memory() memory {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := memory{seq: g.frozenSeq, index: g.pos.index}
	if g.active != nil {
		m.snaps[0] = g.active.buf.At(g.end)
	}
	if g.frozen != nil {
		m.snaps[1] = g.frozen.buf.At(g.frozen.end)
	}
	return m
}

func (g *GroupState) setActive(l *layer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active = l
}

// outdated reports whether tables that were looked at after m was taken may have
// rows of a later moment: those of a layer that was not frozen yet.
func (g *GroupState) outdated(m *memory) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ingestSeq > m.seq
}

func (m *memory) get(key []byte) ([]byte, rowbuf.State) {
	for i := range m.snaps {
		if val, state := m.snaps[i].Get(key); state != rowbuf.Absent {
			return val, state
		}
	}
	return nil, rowbuf.Absent
}

// budget bounds the rows in memory of all groups. Past flushAt the largest layer
// is written; at most, batches wait.
type budget struct {
	used    atomic.Int64
	flushAt int64
	most    int64
	kick    chan struct{}                 // tells the flusher that there is work; holds one
	freed   atomic.Pointer[chan struct{}] // closed and replaced when a layer has gone
}

func (b *budget) init(bytes int64) {
	b.most, b.flushAt = bytes, bytes-bytes/4
	b.kick = make(chan struct{}, 1)
	freed := make(chan struct{})
	b.freed.Store(&freed)
}

// buffered counts memory that a layer took.
func (s *State) buffered(bytes int64) {
	if s.mem.used.Add(bytes) > s.mem.flushAt {
		select {
		case s.mem.kick <- struct{}{}:
		default:
		}
	}
}

// release counts the memory of a layer that has gone.
func (s *State) release(l *layer) {
	if l == nil {
		return
	}
	s.mem.used.Add(-l.buf.Bytes())
	freed := make(chan struct{})
	close(*s.mem.freed.Swap(&freed))
}

// room waits until there is memory for another batch.
func (s *State) room() error {
	for {
		select {
		case <-s.stop:
			return ErrClosed
		case <-s.fatal.Failed():
			return s.fatal.Err()
		default:
		}
		freed := *s.mem.freed.Load() // before the look at used, or a wake-up is missed
		if s.mem.used.Load() <= s.mem.most {
			return nil
		}
		s.buffered(0)
		select {
		case <-freed:
		case <-s.fatal.Failed():
		case <-s.stop:
			return ErrClosed
		}
	}
}
