package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// model is one group and what is true of it.
type model struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	g     *store.GroupState
	rows  map[int]string
	views []modelView
}

type modelView struct {
	v     *store.View
	index uint64
	want  []string
}

const modelKeys = 400

func (m *model) batch() {
	b := m.g.Begin()
	own := maps.Clone(m.rows)
	for range 1 + m.rng.IntN(60) {
		n := m.rng.IntN(modelKeys)
		var err error
		if m.rng.IntN(4) == 0 {
			delete(own, n)
			err = b.Delete(rowKey(m.g.ID(), n))
		} else {
			own[n] = fmt.Sprintf("%d %0*d", m.rng.Uint64(), m.rng.IntN(300), 0)
			err = b.Set(rowKey(m.g.ID(), n), []byte(own[n]))
		}
		if err != nil {
			m.t.Fatalf("seed %d: write = %v", m.seed, err)
		}
		n = m.rng.IntN(modelKeys)
		val, ok, err := b.Get(rowKey(m.g.ID(), n))
		if want, has := own[n]; err != nil || ok != has || string(val) != want {
			m.t.Fatalf("seed %d: Get(%d) = %q, %v, %v, want %q, %v", m.seed, n, val, ok, err, want, has)
		}
	}
	if m.rng.IntN(4) == 0 {
		if diff := cmp.Diff(sorted(own), rows(m.t, b, m.g.ID(), false)); diff != "" {
			m.t.Fatalf("seed %d: scan of the batch differs (-want +got):\n%s", m.seed, diff)
		}
	}
	if m.rng.IntN(8) == 0 {
		b.Close()
		return
	}
	index, _ := m.g.Applied()
	if err := b.Commit(index+1, 1); err != nil {
		m.t.Fatalf("seed %d: Commit = %v", m.seed, err)
	}
	m.rows = own
}

func (m *model) view() {
	v, err := m.g.View()
	if err != nil {
		m.t.Fatalf("seed %d: View = %v", m.seed, err)
	}
	index, _ := m.g.Applied()
	m.views = append(m.views, modelView{v, index, sorted(m.rows)})
}

// check looks at an open view, which must still show its own moment.
func (m *model) check() {
	if len(m.views) == 0 {
		return
	}
	i := m.rng.IntN(len(m.views))
	mv := m.views[i]
	want := slices.Clone(mv.want)
	reverse := m.rng.IntN(2) == 0
	if reverse {
		slices.Reverse(want)
	}
	if diff := cmp.Diff(want, rows(m.t, mv.v, m.g.ID(), reverse)); diff != "" {
		m.t.Fatalf("seed %d: view at %d differs (-want +got):\n%s", m.seed, mv.index, diff)
	}
	if mv.v.Index() != mv.index {
		m.t.Errorf("seed %d: view at %d says %d", m.seed, mv.index, mv.v.Index())
	}
	m.checkRange(&mv)
	for range 20 {
		n := m.rng.IntN(modelKeys)
		val, ok, err := mv.v.Get(rowKey(m.g.ID(), n))
		got := fmt.Sprintf("%03d=%s", n, val)
		if _, has := slices.BinarySearch(mv.want, got); err != nil || ok != has {
			m.t.Fatalf("seed %d: Get(%d) of the view at %d = %.40q, %v, %v", m.seed, n, mv.index, val, ok, err)
		}
	}
	m.closeView(i)
}

// checkRange scans a part of a view, and sometimes reads others of its rows meanwhile.
func (m *model) checkRange(mv *modelView) {
	from, to := m.rng.IntN(modelKeys), m.rng.IntN(modelKeys)
	at := func(n int) int {
		i, _ := slices.BinarySearch(mv.want, fmt.Sprintf("%03d", n))
		return i
	}
	var want, got []string
	if from < to {
		want = slices.Clone(mv.want[at(from):at(to)])
	}
	reverse, reads := m.rng.IntN(2) == 0, m.rng.IntN(2) == 0
	if reverse {
		slices.Reverse(want)
	}
	err := mv.v.Scan(rowKey(m.g.ID(), from), rowKey(m.g.ID(), to), reverse, func(k, v []byte) (bool, error) {
		got = append(got, fmt.Sprintf("%s=%s", k[fsm.GroupBytes+1:], v))
		if reads {
			if _, _, err := mv.v.Get(rowKey(m.g.ID(), m.rng.IntN(modelKeys))); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		m.t.Fatalf("seed %d: Scan(%d, %d) = %v", m.seed, from, to, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		m.t.Fatalf("seed %d: rows %d to %d of the view at %d differ (-want +got):\n%s", m.seed, from, to, mv.index, diff)
	}
}

func (m *model) closeView(i int) {
	if err := m.views[i].v.Close(); err != nil {
		m.t.Errorf("seed %d: Close = %v", m.seed, err)
	}
	m.views = slices.Delete(m.views, i, i+1)
}

// TestStateModel compares two groups with maps while layers are written by
// barriers, by a budget that is soon used up, by snapshots and by restarts. Some
// restarts begin, or end, to number the rows.
func TestStateModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 5))
		o := store.StateOptions{FS: vfs.NewMem(), BufferBytes: []int64{1, 300 << 10, 0}[seed%3], Number: rowNumber}
		s, err := store.OpenState("state", o)
		if err != nil {
			t.Fatal(err)
		}
		models := make([]*model, 2)
		for i := range models {
			models[i] = &model{t: t, seed: seed, rng: rng, rows: map[int]string{}, g: group(t, s, shard.GroupID(i+1))}
		}
		for range 400 {
			m := models[rng.IntN(2)]
			switch rng.IntN(24) {
			default:
				m.batch()
			case 0, 1, 2, 3:
				m.view()
			case 4, 5, 6, 7:
				m.check()
			case 8:
				if err := m.g.Barrier(); err != nil {
					t.Fatal(err)
				}
			case 9:
				stream(t, m.g)
			case 10:
				if rng.IntN(4) == 0 {
					if err := m.g.Drop(); err != nil {
						t.Fatal(err)
					}
					m.rows = map[int]string{}
				}
			case 11:
				for _, m := range models {
					for len(m.views) > 0 {
						m.check()
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if o.Number = nil; rng.IntN(2) == 0 {
					o.Number = rowNumber
				}
				if s, err = store.OpenState("state", o); err != nil {
					t.Fatal(err)
				}
				for _, m := range models {
					index, _ := m.g.Applied()
					if m.g = group(t, s, m.g.ID()); index != appliedOf(m.g) {
						t.Errorf("seed %d: applied %d after a restart, want %d", seed, appliedOf(m.g), index)
					}
				}
			}
		}
		for _, m := range models {
			m.view()
			for len(m.views) > 0 {
				m.check()
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func appliedOf(g *store.GroupState) uint64 {
	index, _ := g.Applied()
	return index
}

// TestViewsWhileWriting reads views while batches are committed and layers
// written at the same time: every row of a view is of the batch that the view
// says it contains last.
func TestViewsWhileWriting(t *testing.T) {
	t.Parallel()
	s := openState(t, t.TempDir(), store.StateOptions{BufferBytes: 400 << 10})
	g := group(t, s, 1)
	const keys, batches, readers = 40, 600, 3
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for {
				readOne(t, g, keys)
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	wg.Go(func() {
		for {
			if err := g.Barrier(); err != nil {
				t.Errorf("Barrier = %v", err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range uint64(batches) {
		m := make(map[int]string)
		for n := range keys {
			m[n] = fmt.Sprintf("%d %0*d", i+1, int(i%200), 0)
		}
		put(t, g, i+1, m)
	}
	close(done)
	wg.Wait()
}

// TestViewTakenAgain lets things happen between the two looks of a view.
func TestViewTakenAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		commit, flush bool
		want          bool
	}{
		"nothing":                     {want: true},
		"a batch":                     {commit: true, want: true},
		"a flush of what was seen":    {flush: true, want: false}, // good, but not told apart
		"a flush of a batch not seen": {commit: true, flush: true, want: false},
	} {
		g := group(t, openState(t, t.TempDir(), store.StateOptions{}), 1)
		put(t, g, 1, map[int]string{1: "a"})
		v, err := store.ViewAround(g, func() {
			if tt.commit {
				put(t, g, 2, map[int]string{1: "b", 2: "b"})
			}
			if tt.flush {
				if err := g.Barrier(); err != nil {
					t.Fatal(err)
				}
			}
		})
		if err != nil || (v != nil) != tt.want {
			t.Errorf("%s: a view %v, %v, want %v", name, v != nil, err, tt.want)
		}
		if v == nil {
			continue
		}
		if diff := cmp.Diff([]string{"001=a"}, rows(t, v, 1, false)); diff != "" {
			t.Errorf("%s: view differs (-want +got):\n%s", name, diff)
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}

func readOne(t *testing.T, g *store.GroupState, keys int) {
	t.Helper()
	v, err := g.View()
	if err != nil {
		t.Errorf("View = %v", err)
		return
	}
	defer v.Close()
	for _, reverse := range []bool{false, true} {
		got := rows(t, v, g.ID(), reverse)
		if v.Index() == 0 {
			keys = 0
		}
		if len(got) != keys {
			t.Errorf("view at %d has %d rows, want %d", v.Index(), len(got), keys)
		}
		for _, row := range got {
			var n, index uint64
			if _, err := fmt.Sscanf(row, "%d=%d ", &n, &index); err != nil || index != v.Index() {
				t.Errorf("view at %d has %.30q, %v", v.Index(), row, err)
				return
			}
		}
	}
}

// TestCrashWhileFlushing cuts the power before every operation on files that a
// few barriers do.
func TestCrashWhileFlushing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		type crash struct {
			fs      *vfs.MemFS
			barrier uint64 // of the last barrier that had returned
			op      string
		}
		var mu sync.Mutex // guards the rest: the engine works on its own, too
		var crashes []crash
		var barrier uint64
		recording := false
		rng := rand.New(rand.NewPCG(seed, 4))
		mem := vfs.NewCrashableMem()
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if recording && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				after := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed) * 50, RNG: rng})
				crashes = append(crashes, crash{after, barrier, fmt.Sprintf("%v of %s", op.Kind, op.Path)})
			}
			return nil
		}))
		s, err := store.OpenState("state", store.StateOptions{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		g := group(t, s, 1)
		history := [][]string{nil}
		truth := make(map[int]string)
		for i := range uint64(20) {
			truth[int(i%7)] = fmt.Sprint(i)
			truth[int(i)] = fmt.Sprint(i)
			put(t, g, i+1, truth)
			history = append(history, sorted(truth))
			if i%5 == 4 {
				mu.Lock()
				recording = i > 5
				mu.Unlock()
				if err := g.Barrier(); err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				recording, barrier = false, i+1
				mu.Unlock()
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(crashes) < 15 {
			t.Errorf("seed %d: only %d operations were seen", seed, len(crashes))
		}
		for _, c := range crashes {
			s, err := store.OpenState("state", store.StateOptions{FS: c.fs})
			if err != nil {
				t.Fatalf("seed %d, before %s: OpenState = %v", seed, c.op, err)
			}
			g := group(t, s, 1)
			index := appliedOf(g)
			if index < c.barrier {
				t.Errorf("seed %d, before %s: applied %d, the barrier was at %d", seed, c.op, index, c.barrier)
			}
			if diff := cmp.Diff(history[index], viewRows(t, g)); diff != "" {
				t.Errorf("seed %d, before %s: state at %d differs (-want +got):\n%s", seed, c.op, index, diff)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBudget holds the flush back: batches wait with bounded memory, go on when
// the disk does, and end with the state.
func TestBudget(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	held := make(chan struct{})
	hold := false
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		wait := hold && op.Kind == errorfs.OpCreate
		mu.Unlock()
		if wait {
			<-held
		}
		return nil
	}))
	const budget = 1 << 20
	s := openState(t, "state", store.StateOptions{FS: fs, BufferBytes: budget})
	g := group(t, s, 1)
	mu.Lock()
	hold = true
	mu.Unlock()
	const batches = 400
	committed := make(chan uint64, batches)
	errs := make(chan error, 1)
	go func() {
		defer close(committed)
		for i := range uint64(batches) {
			b := g.Begin()
			if err := b.Set(rowKey(1, int(i)), make([]byte, 10<<10)); err != nil {
				errs <- err
				return
			}
			if err := b.Commit(i+1, 1); err != nil {
				errs <- err
				return
			}
			committed <- i + 1
		}
	}()
	for i := range uint64(50) { // half of the budget: none of these waits
		if got := <-committed; got != i+1 {
			t.Fatalf("committed %d, want %d", got, i+1)
		}
	}
	store.AwaitFull(s)
	if used := store.BufferedBytes(s); used > budget+128<<10 {
		t.Errorf("%d bytes in memory of %d", used, budget)
	}
	mu.Lock()
	hold = false
	mu.Unlock()
	close(held)
	last := uint64(50)
	for i := range committed {
		last = i
		if used := store.BufferedBytes(s); used > budget+128<<10 {
			t.Errorf("%d bytes in memory of %d", used, budget)
		}
	}
	select {
	case err := <-errs:
		t.Errorf("commit = %v", err)
	default:
	}
	if n := len(viewRows(t, g)); last != batches || n != batches {
		t.Errorf("%d batches, %d rows, want %d", last, n, batches)
	}
}

// TestCommitAfterClose uses what is closed.
func TestCommitAfterClose(t *testing.T) {
	s, err := store.OpenState(t.TempDir(), store.StateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g := group(t, s, 1)
	put(t, g, 1, map[int]string{1: "a"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Begin().Commit(2, 1); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Commit after Close = %v", err)
	}
	if err := g.Barrier(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Barrier after Close = %v", err)
	}
	if _, err := g.View(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("View after Close = %v", err)
	}
}
