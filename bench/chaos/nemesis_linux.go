package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/chatnode/chatnode/internal/check"
)

// step is one entry of the schedule. It follows from the seed alone.
type step struct {
	pause  time.Duration
	faults []string
	seeds  []uint64
}

// schedule draws steps.
type schedule struct {
	rnd  *rand.Rand
	cfg  Config
	left []string // of the round under way: every fault comes once a round
}

func newSchedule(cfg Config) *schedule {
	return &schedule{rnd: rand.New(rand.NewPCG(cfg.Seed, 3)), cfg: cfg}
}

// draw takes the next fault that may go on beside the others; ok is false when
// none of the round may.
func (s *schedule) draw(others []string) (name string, ok bool) {
	if len(s.left) == 0 {
		s.left = slices.Clone(s.cfg.Faults)
		s.rnd.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
	}
	for i, name := range s.left {
		if !slices.ContainsFunc(others, func(o string) bool { return clash(name, o) }) {
			s.left = slices.Delete(s.left, i, i+1)
			return name, true
		}
	}
	return "", false
}

// clash reports whether two faults at once are more than three replicas can bear.
func clash(a, b string) bool {
	one, _ := find(a)
	other, _ := find(b)
	return one.needs.whole && other.needs.whole
}

func (s *schedule) next() step {
	st := step{pause: time.Duration(s.rnd.Int64N(int64(s.cfg.Calm)))}
	n := 1
	if s.cfg.Pairs {
		n = 2
	}
	for range n {
		if name, ok := s.draw(st.faults); ok {
			st.faults = append(st.faults, name)
			st.seeds = append(st.seeds, s.rnd.Uint64())
		}
	}
	return st
}

// nemesis injects the schedule's faults.
type nemesis struct {
	cfg  Config
	c    *cluster
	rec  *check.Recorder
	now  func() int64
	mu   sync.Mutex
	busy map[*node]bool // nodes that a fault works on
	done map[string]int // faults injected, by name; those that found nothing to act on are none
	bad  []string       // what no fault explains: each fails the run
}

func newNemesis(cfg Config, c *cluster, rec *check.Recorder, now func() int64) *nemesis {
	return &nemesis{cfg: cfg, c: c, rec: rec, now: now, busy: map[*node]bool{}, done: map[string]int{}}
}

func (m *nemesis) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.rec.Note(check.Note{At: m.now(), Text: text})
	m.cfg.Logger.Info("nemesis", "what", text)
}

// fail records something that no fault explains.
func (m *nemesis) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.note("FAILURE: %s", text)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.bad) < 100 {
		m.bad = append(m.bad, text)
	}
}

func (m *nemesis) failures() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.bad)
}

// run injects faults until ctx ends; the fault of the moment is taken back
// before it returns.
func (m *nemesis) run(ctx context.Context) {
	if len(m.cfg.Faults) == 0 {
		<-ctx.Done()
		return
	}
	for s := newSchedule(m.cfg); ; {
		st := s.next()
		wait(ctx, st.pause)
		if ctx.Err() != nil {
			return
		}
		if len(m.failures()) > 0 { // more trouble would bury what went wrong
			<-ctx.Done()
			return
		}
		var wg sync.WaitGroup
		for i, name := range st.faults {
			f, _ := find(name)
			x := &env{nemesis: m, ctx: ctx, name: name, rnd: rand.New(rand.NewPCG(st.seeds[i], 4))}
			wg.Go(func() { m.inject(f, x) })
		}
		wg.Wait()
	}
}

// errIdle says that a fault had no effect: the nodes that it wanted were taken by
// another one, or nothing happened that it could have disturbed.
var errIdle = errors.New("found nothing to act on")

func (m *nemesis) inject(f Fault, x *env) {
	defer x.release()
	switch err := f.do(x); {
	case errors.Is(err, errIdle):
		m.note("%s: %v", f.Name, err)
		return
	case err != nil:
		m.fail("fault %s: %v", f.Name, err)
		return
	}
	m.mu.Lock()
	m.done[f.Name]++
	m.mu.Unlock()
}

// watch reports nodes that end by themselves.
func (m *nemesis) watch(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			m.look() // at what ended last
			return
		case <-tick.C:
			m.look()
		}
	}
}

func (m *nemesis) look() {
	for _, n := range append(slices.Clip(m.c.nodes), m.c.spare) {
		if how, ended := n.endedAlone(); ended {
			m.fail("a node ended by itself: %s", how)
		}
	}
}

// env is what one injection works with.
type env struct {
	*nemesis
	ctx   context.Context
	name  string
	rnd   *rand.Rand
	taken []*node
}

// hold keeps the fault up for a drawn time, or until the load ends.
func (x *env) hold(lo, hi time.Duration) {
	wait(x.ctx, lo+time.Duration(x.rnd.Int64N(int64(hi-lo))))
}

// take reserves a node; false when another fault works on it.
func (x *env) take(n *node) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n == nil || x.busy[n] {
		return false
	}
	x.busy[n] = true
	x.taken = append(x.taken, n)
	return true
}

func (x *env) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, n := range x.taken {
		delete(x.busy, n)
	}
	x.taken = nil
}

// any reserves a node by a drawn number; nil when all are taken.
func (x *env) any() *node {
	at := x.rnd.IntN(len(x.c.nodes))
	for i := range x.c.nodes {
		if n := x.c.nodes[(at+i)%len(x.c.nodes)]; x.take(n) {
			return n
		}
	}
	return nil
}

// leader reserves the leader of a drawn group, or any node if there is none.
func (x *env) leader() *node {
	if n := x.c.leader(x.ctx, x.rnd.IntN(1<<20)); x.take(n) {
		return n
	}
	return x.any()
}

// all reserves every node that is free.
func (x *env) all() []*node {
	for _, n := range x.c.nodes {
		x.take(n)
	}
	return x.taken
}

// restart starts the node's process if it is down. It also runs after the load
// has ended, since a node must be up for what follows.
func (x *env) restart(n *node) error {
	if n.process() != nil {
		return nil
	}
	n.excused("")
	err := n.start(context.WithoutCancel(x.ctx), false, "")
	if err != nil {
		return err
	}
	x.note("%s: %s is up again", x.name, n.ID())
	return nil
}
