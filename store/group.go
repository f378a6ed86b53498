package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store/rowbuf"
)

// GroupState is the state of one group. Begin and what follows from it, Drop
// and Install.Commit are called by one goroutine at a time; the rest by any.
type GroupState struct {
	s     *State
	id    shard.GroupID
	lower []byte // of the machine's keys
	upper []byte
	batch Batch // re-used: there is one at a time

	// Locks are taken in this order, behind State.flushMu.
	swapMu  sync.RWMutex // held alone while the whole range is replaced, shared while a view is taken
	writeMu sync.Mutex   // held while rows are added and while a layer is frozen
	mu      sync.Mutex   // guards the rest

	pos       position
	cfg       configuration
	gen       uint64 // rises when the byte count of pos begins anew
	doubt     bool   // a snapshot was larger than the byte count of pos
	dirty     bool   // something was committed since the last freeze
	active    *layer // nil when there are no rows; set with writeMu held as well
	end       rowbuf.Mark
	frozen    *layer // nil when there is none
	frozenSeq uint64 // number of the last layer that was frozen
	ingestSeq uint64 // and of the last whose rows may be in the tables
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

// Drop removes the whole state of the group and is durable when it returns.
func (g *GroupState) Drop() error {
	return g.swap("drop group", func(span pebble.KeyRange) error {
		return g.s.db.Excise(context.Background(), span)
	})
}

// replace swaps the group's whole range for the given tables at once.
func (g *GroupState) replace(paths []string) error {
	return g.swap("install state", func(span pebble.KeyRange) error {
		_, err := g.s.db.IngestAndExcise(context.Background(), paths, nil, nil, span)
		return err
	})
}

// swap calls fn, which changes all tables of the group at once, and forgets what
// was in memory. No memtable has rows, so the change is durable when fn returns.
func (g *GroupState) swap(op string, fn func(pebble.KeyRange) error) error {
	if err := g.s.fatal.Err(); err != nil {
		return err
	}
	g.s.flushMu.Lock()
	defer g.s.flushMu.Unlock()
	g.swapMu.Lock()
	defer g.swapMu.Unlock()
	g.writeMu.Lock()
	defer g.writeMu.Unlock()
	lower, upper := groupSpan(g.id)
	err := g.s.fatal.Guard(op, func() error { return fn(pebble.KeyRange{Start: lower, End: upper}) })
	if err != nil {
		return err
	}
	g.mu.Lock()
	gone := g.active
	g.active, g.end, g.dirty = nil, 0, false
	g.frozenSeq++
	g.ingestSeq = g.frozenSeq
	g.mu.Unlock()
	g.s.release(gone)
	return g.load()
}
