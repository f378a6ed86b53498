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
	g      *GroupState
	mem    memory
	tables *pebble.Iterator // Get and Scan take turns with it
	narrow bool             // tables has the bounds of a scan
	busy   bool             // a scan is running on tables
	inner  *pebble.Iterator // the same snapshot, for Get during a scan; made on demand
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
	return &View{g: g, mem: mem, tables: it}, nil
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
	it, err := v.wide()
	if err != nil {
		return nil, false, err
	}
	// The prefix of a key is the whole key, so tables without it are skipped
	// by their filter.
	if !it.SeekPrefixGE(key) {
		return nil, false, readError("view", it.Error())
	}
	if val, err = it.ValueAndErr(); err != nil {
		return nil, false, readError("view", err)
	}
	return val, true, nil
}

// wide gives an iterator over all rows of the group that no scan uses.
func (v *View) wide() (*pebble.Iterator, error) {
	if v.busy {
		if v.inner == nil {
			it, err := v.clone(v.g.lower, v.g.upper, nil)
			if err != nil {
				return nil, err
			}
			v.inner = it
		}
		return v.inner, nil
	}
	if v.narrow {
		v.tables.SetBounds(v.g.lower, v.g.upper)
		v.narrow = false
	}
	return v.tables, nil
}

// Scan implements [fsm.Reader].
func (v *View) Scan(lower, upper []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	lower, upper = clampLower(lower, v.g.lower), clampUpper(upper, v.g.upper)
	if bytes.Compare(lower, upper) >= 0 {
		return nil
	}
	filter := v.g.s.numbers.filter(lower, upper)
	if filter != nil || v.busy { // of its own kind, or within fn of a running scan
		it, err := v.clone(lower, upper, filter)
		if err != nil {
			return err
		}
		return errors.Join(v.scanOver(it, lower, upper, reverse, fn), it.Close())
	}
	v.tables.SetBounds(lower, upper)
	v.narrow, v.busy = true, true
	defer func() { v.busy = false }()
	return v.scanOver(v.tables, lower, upper, reverse, fn)
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
func (v *View) clone(lower, upper []byte, filter []pebble.BlockPropertyFilter) (*pebble.Iterator, error) {
	it, err := v.tables.Clone(pebble.CloneOptions{
		IterOptions: &pebble.IterOptions{LowerBound: lower, UpperBound: upper, PointKeyFilters: filter},
	})
	if err != nil {
		return nil, readError("view", err)
	}
	return it, nil
}

// Close frees the snapshot.
func (v *View) Close() error {
	var err error
	if v.inner != nil {
		err = v.inner.Close()
	}
	return readError("view", errors.Join(err, v.tables.Close()))
}
