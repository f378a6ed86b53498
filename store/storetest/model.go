package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// Model is the dumb twin of a log: what it must contain, in maps and slices.
type Model struct {
	Groups map[shard.GroupID]*ModelGroup
	term   uint64
}

// ModelGroup is one group of a [Model].
type ModelGroup struct {
	Entries []store.LogEntry
	Stable  map[string]string
}

// NewModel gives an empty model.
func NewModel() *Model { return &Model{Groups: make(map[shard.GroupID]*ModelGroup), term: 1} }

// Group gives a group of the model, an empty one when it is new.
func (m *Model) Group(id shard.GroupID) *ModelGroup {
	g := m.Groups[id]
	if g == nil {
		g = &ModelGroup{Stable: make(map[string]string)}
		m.Groups[id] = g
	}
	return g
}

// Last is the index of the last entry, 0 without any.
func (g *ModelGroup) Last() uint64 {
	if len(g.Entries) == 0 {
		return 0
	}
	return g.Entries[len(g.Entries)-1].Index
}

// Clone copies the model, sharing what does not change.
func (m *Model) Clone() *Model {
	c := &Model{Groups: make(map[shard.GroupID]*ModelGroup), term: m.term}
	for id, g := range m.Groups {
		n := c.Group(id)
		n.Entries = slices.Clone(g.Entries)
		maps.Copy(n.Stable, g.Stable)
	}
	return c
}

// Step does one random operation on both the model and l.
func (m *Model) Step(tb testing.TB, l store.Log, rng *rand.Rand) {
	tb.Helper()
	id := shard.GroupID(rng.IntN(4))
	g, mg := mustGroup(tb, l, id), m.Group(id)
	last := mg.Last()
	var err error
	switch op := rng.IntN(20); {
	case op < 11:
		next := last + 1
		if last == 0 {
			next = 1 + uint64(rng.IntN(100))
		}
		entries := Entries(next, m.term, 1+rng.IntN(12))
		mg.Entries = append(slices.Clip(mg.Entries), entries...)
		err = g.Append(entries)
	case op < 13 && last > 0: // a conflict: the end goes and comes anew
		m.term++
		from := mg.Entries[rng.IntN(len(mg.Entries))].Index
		mg.Entries = slices.DeleteFunc(slices.Clone(mg.Entries), func(e store.LogEntry) bool { return e.Index >= from })
		err = g.DeleteRange(from, last)
	case op < 15 && last > 0: // compaction
		to := mg.Entries[rng.IntN(len(mg.Entries))].Index
		first := mg.Entries[0].Index
		mg.Entries = slices.DeleteFunc(slices.Clone(mg.Entries), func(e store.LogEntry) bool { return e.Index <= to })
		err = g.DeleteRange(first, to)
	case op < 16:
		key, val := fmt.Sprintf("k%d", rng.IntN(3)), fmt.Sprintf("v%d", rng.Uint32())
		mg.Stable[key] = val
		err = g.Set([]byte(key), []byte(val))
	case op < 17 && rng.IntN(5) == 0:
		delete(m.Groups, id)
		err = l.Drop(id)
	case op < 18 && last > 0:
		err = g.WaitDurable(last)
	case last > 0:
		m.checkOne(tb, g, mg.Entries[rng.IntN(len(mg.Entries))])
	}
	if err != nil {
		tb.Fatalf("group %d: %v", id, err)
	}
}

func (m *Model) checkOne(tb testing.TB, g store.GroupLog, want store.LogEntry) {
	tb.Helper()
	var got store.LogEntry
	if err := g.Entry(want.Index, &got); err != nil {
		tb.Fatalf("Entry(%d) = %v", want.Index, err)
	}
	if got.Term != want.Term || string(got.Data) != string(want.Data) {
		tb.Fatalf("Entry(%d) = %+v, want %+v", want.Index, got, want)
	}
}

// Check compares all of l with the model.
func (m *Model) Check(tb testing.TB, l store.Log) {
	tb.Helper()
	for id := range shard.GroupID(4) {
		g, mg := mustGroup(tb, l, id), m.Group(id)
		CheckEntries(tb, g, mg.Entries)
		for k, want := range mg.Stable {
			if got, err := g.Get([]byte(k)); err != nil || string(got) != want {
				tb.Fatalf("group %d: Get(%s) = %q, %v, want %q", id, k, got, err, want)
			}
		}
		for _, k := range []string{"k0", "k1", "k2"} {
			if _, err := g.Get([]byte(k)); mg.Stable[k] == "" && !errors.Is(err, store.ErrNotFound) {
				tb.Fatalf("group %d: Get(%s) = %v, want ErrNotFound", id, k, err)
			}
		}
	}
}
