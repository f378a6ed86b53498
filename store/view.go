package store

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/store/rowbuf"
)

var _ fsm.Reader = (*View)(nil)

// View is a consistent snapshot of one group's rows: what was committed when it
// was taken, whatever is applied or installed later. One goroutine uses it and
// closes it soon, since it keeps files and memory of its time alive.
type View struct {
	g       *GroupState
	mem     memory
	gets    *pebble.Iterator // positioned by Get
	scans   *pebble.Iterator // the same snapshot, positioned by Scan; made on demand
	scanned bool             // scans is in use
}

// View takes a snapshot for reading.
func (g *GroupState) View() (*View, error) {
	if err := g.s.usable(); err != nil {
		return nil, err
	}
	g.swapMu.RLock()
	defer g.swapMu.RUnlock()
	for {
		v, err := g.viewOver(g.memory())
		if v != nil || err != nil {
			return v, err
		}
	}
}

// viewOver adds the tables of this moment to mem, which was taken before: what
// left memory since then is in them. It gives nil when they have more than that.
func (g *GroupState) viewOver(mem memory) (*View, error) {
	it, err := g.s.db.NewIter(&pebble.IterOptions{LowerBound: g.lower, UpperBound: g.upper})
	if err != nil {
		return nil, readError("view", err)
	}
	if g.outdated(&mem) {
		return nil, readError("view", it.Close())
	}
	return &View{g: g, mem: mem, gets: it}, nil
}

func (s *State) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return nil
}

// Index is the applied index of the view.
func (v *View) Index() uint64 { return v.mem.index }

// Get implements [fsm.Reader].
func (v *View) Get(key []byte) (val []byte, ok bool, err error) {
	if bytes.Compare(key, v.g.lower) < 0 || bytes.Compare(key, v.g.upper) >= 0 {
		return nil, false, nil
	}
	if val, state := v.mem.get(key); state != rowbuf.Absent {
		return val, state == rowbuf.Present, nil
	}
	// The prefix of a key is the whole key, so tables without it are skipped
	// by their filter.
	if !v.gets.SeekPrefixGE(key) {
		return nil, false, readError("view", v.gets.Error())
	}
	if val, err = v.gets.ValueAndErr(); err != nil {
		return nil, false, readError("view", err)
	}
	return val, true, nil
}

// Scan implements [fsm.Reader].
func (v *View) Scan(lower, upper []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	lower, upper = clampLower(lower, v.g.lower), clampUpper(upper, v.g.upper)
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	if v.scanned { // fn of a running scan scans again
		it, err := v.clone(lower, upper)
		if err != nil {
			return err
		}
		return errors.Join(v.scanOver(it, lower, upper, reverse, fn), it.Close())
	}
	if v.scans == nil {
		it, err := v.clone(lower, upper)
		if err != nil {
			return err
		}
		v.scans = it
	} else {
		v.scans.SetBounds(lower, upper)
	}
	v.scanned = true
	defer func() { v.scanned = false }()
	return v.scanOver(v.scans, lower, upper, reverse, fn)
}

// scanOver visits the rows of it and those in memory.
func (v *View) scanOver(it *pebble.Iterator, lower, upper []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	m := v.g.s.merges.Get().(*merge)
	defer func() {
		m.forget()
		v.g.s.merges.Put(m)
	}()
	m.addMemory(&v.mem, lower, upper, reverse)
	return m.scan(it, reverse, fn)
}

// clone gives an iterator of the same snapshot.
func (v *View) clone(lower, upper []byte) (*pebble.Iterator, error) {
	it, err := v.gets.Clone(pebble.CloneOptions{
		IterOptions: &pebble.IterOptions{LowerBound: lower, UpperBound: upper},
	})
	if err != nil {
		return nil, readError("view", err)
	}
	return it, nil
}

// Close frees the snapshot.
func (v *View) Close() error {
	var err error
	if v.scans != nil {
		err = v.scans.Close()
	}
	return readError("view", errors.Join(err, v.gets.Close()))
}
