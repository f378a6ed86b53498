package store

import (
	"context"

	"github.com/chatnode/chatnode/store/rowbuf"
)

// flushPrefix begins the names of the tables that a flush writes, as installPrefix.
const flushPrefix = "flush-"

// flusher writes layers while there is too much in memory.
func (s *State) flusher() {
	defer s.wg.Done()
	for {
		select {
		case <-s.stop:
			return
		case <-s.fatal.Failed():
			return
		case <-s.mem.kick:
		}
		for s.mem.used.Load() > s.mem.flushAt {
			g := s.largest()
			if g == nil {
				break
			}
			if err := g.Barrier(); err != nil {
				return // it was told as fatal
			}
			if !s.settle() {
				return
			}
		}
	}
}

// largest gives the group with the most in its active layer.
func (s *State) largest() *GroupState {
	s.mu.Lock()
	defer s.mu.Unlock()
	var most int64
	var largest *GroupState
	for _, g := range s.groups {
		if n := g.activeBytes(); n > most {
			most, largest = n, g
		}
	}
	return largest
}

func (g *GroupState) activeBytes() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active == nil {
		return 0
	}
	return g.active.buf.Bytes()
}

// settle waits while so many tables lie over each other that reads suffer and a
// compaction works on it; batches wait then as soon as their memory is used up.
// It reports false when the state ends.
func (s *State) settle() bool {
	for {
		m := s.db.Metrics()
		if int(m.Levels[0].Sublevels) < l0Stop || m.Compact.NumInProgress == 0 {
			return true
		}
		s.log.Warn("state writes wait for compactions", "layers", m.Levels[0].Sublevels)
		select {
		case <-s.compacted:
		case <-s.fatal.Failed():
			return false
		case <-s.stop:
			return false
		}
	}
}

// Barrier returns when everything committed before the call is durable.
func (g *GroupState) Barrier() error {
	if err := g.s.usable(); err != nil {
		return err
	}
	return g.barrier()
}

func (g *GroupState) barrier() error {
	g.s.flushMu.Lock()
	defer g.s.flushMu.Unlock()
	if err := g.s.fatal.Err(); err != nil {
		return err
	}
	return g.flush()
}

// flush makes a table of what the group has in memory. The caller holds flushMu.
//
// Position, configuration and rows become visible and durable together, since
// they are ingested together: what a crash leaves is the result of a prefix.
func (g *GroupState) flush() error {
	l, pos, cfg, seq, ok := g.freeze()
	if !ok {
		return nil
	}
	err := g.s.fatal.Guard("flush state", func() error {
		t := tables{s: g.s, prefix: flushPrefix, group: g.id, level: 0}
		if err := t.putLayer(l, pos, cfg); err != nil {
			return err
		}
		g.mu.Lock()
		g.ingestSeq = seq
		g.mu.Unlock()
		return g.s.db.Ingest(context.Background(), t.paths)
	})
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.frozen = nil
	g.mu.Unlock()
	g.s.release(l)
	return nil
}

// freeze takes the active layer away from the batches. l is nil when batches
// have changed nothing but the position; ok is false when there is nothing new.
func (g *GroupState) freeze() (l *layer, pos position, cfg configuration, seq uint64, ok bool) {
	g.writeMu.Lock()
	defer g.writeMu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.dirty {
		return nil, pos, cfg, 0, false
	}
	if l = g.active; l != nil {
		l.end = g.end
	}
	g.frozen, g.active, g.end, g.dirty = l, nil, 0, false
	g.frozenSeq++
	return l, g.pos, g.cfg, g.frozenSeq, true
}

// putLayer writes the store's rows, which come before all others, and those of l.
func (t *tables) putLayer(l *layer, pos position, cfg configuration) error {
	if err := t.putOwn(pos, cfg); err != nil {
		return err
	}
	if l != nil {
		lower, upper := groupSpan(t.group)
		snap := l.buf.At(l.end)
		var c rowbuf.Cursor
		for c.Reset(&snap, lower, upper, false); c.Valid(); c.Next() {
			val, deleted := c.Val()
			if err := t.put(c.Key(), val, deleted); err != nil {
				return err
			}
		}
	}
	return t.close()
}
