package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/shard"
)

// GroupState is the state of one group. Begin and what follows from it, Drop
// and Install.Commit are called by one goroutine at a time; the rest by any.
type GroupState struct {
	s     *State
	id    shard.GroupID
	lower []byte // of the machine's keys
	upper []byte
	batch Batch // re-used: there is one at a time

	mu  sync.Mutex // guards the rest
	pos position
	cfg configuration
	gen uint64 // rises when the byte count of pos begins anew
}

func openGroup(s *State, g shard.GroupID) (*GroupState, error) {
	if g == ^shard.GroupID(0) {
		return nil, fmt.Errorf("group %d is reserved", g)
	}
	gs := &GroupState{s: s, id: g, lower: machineLower(g)}
	_, gs.upper = groupSpan(g)
	gs.batch.g = gs
	if err := gs.load(); err != nil {
		return nil, fmt.Errorf("open state of group %d: %w", g, err)
	}
	return gs, nil
}

// load reads the store's rows of the group.
func (g *GroupState) load() error {
	var pos position
	var cfg configuration
	err := g.s.readRow(appliedKey(g.id), func(b []byte) (err error) {
		pos, err = readPosition(b)
		return err
	})
	if err != nil {
		return err
	}
	err = g.s.readRow(configurationKey(g.id), func(b []byte) (err error) {
		cfg, err = readConfiguration(b)
		return err
	})
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.pos, g.cfg = pos, cfg
	g.gen++
	g.mu.Unlock()
	return nil
}

// readRow calls fn with the value of key, and not at all when there is none.
func (s *State) readRow(key []byte, fn func([]byte) error) error {
	val, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return readError("read state", err)
	}
	return errors.Join(fn(val), closer.Close())
}

// ID is the group.
func (g *GroupState) ID() shard.GroupID { return g.id }

// Applied is the index and term of the last entry that the state contains.
func (g *GroupState) Applied() (index, term uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pos.index, g.pos.term
}

// Configuration is the newest membership that was applied and the index of its
// entry; nil when there was none. The caller must not change it.
func (g *GroupState) Configuration() (data []byte, index uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cfg.data, g.cfg.index
}

// Barrier returns when everything committed before the call is durable.
func (g *GroupState) Barrier() error { return g.s.barrier() }

// Drop removes the whole state of the group and is durable when it returns.
func (g *GroupState) Drop() error {
	if err := g.s.fatal.Err(); err != nil {
		return err
	}
	lower, upper := groupSpan(g.id)
	b := g.s.db.NewBatch()
	err := b.DeleteRange(lower, upper, nil)
	if err == nil {
		err = g.s.apply(b)
	}
	if err = errors.Join(err, b.Close()); err != nil {
		return g.s.fatal.Fail("drop group", err)
	}
	g.mu.Lock()
	g.pos, g.cfg = position{}, configuration{}
	g.gen++
	g.mu.Unlock()
	return g.s.barrier()
}

// replace swaps the group's whole range for the given tables at once.
func (g *GroupState) replace(paths []string) error {
	lower, upper := groupSpan(g.id)
	err := g.s.fatal.Guard("install state", func() error {
		_, err := g.s.db.IngestAndExcise(context.Background(), paths, nil, nil,
			pebble.KeyRange{Start: lower, End: upper})
		if err != nil {
			return err
		}
		// A table that overlaps a memtable is queued behind it; the flush
		// makes the swap durable whatever mode the state runs in.
		return g.s.flush()
	})
	if err != nil {
		return err
	}
	return g.load()
}
