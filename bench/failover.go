package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chatnode/chatnode/bench/target"
)

// Failover breaks a node again and again and measures, per conversation, how
// long appends were not acknowledged.
//
// Every probe conversation gets a message at a fixed interval, by a client on a
// node that is not broken. The gap of a conversation is the longest time from
// the fault, or from a later send, to that send's acknowledgement.
type Failover struct {
	Fault         string // one of FailoverFaults
	Repetitions   int
	Conversations int
	Interval      time.Duration // between two messages of a probe
	Calm          time.Duration // before each fault
	Pause         time.Duration // of a paused node, a partition, a storm of transfers
	Recovery      time.Duration // longest wait for the cluster to be whole again
}

// FailoverFaults are the faults with what they do.
var FailoverFaults = map[string]string{
	"kill":      "SIGKILL to the node that leads most groups, then start it again",
	"pause":     "SIGSTOP to that node, SIGCONT after the pause",
	"stop":      "graceful stop of that node, then start it again",
	"partition": "that node and the others do not reach each other, until the pause is over (root)",
	"one-way":   "that node does not hear the others, which hear it, until the pause is over (root)",
	"replace":   "a new node joins, and that node is removed from the cluster",
	"transfer":  "a storm of leadership transfers",
	"rolling":   "graceful restart of one node after the other",
}

// CutsNetwork reports whether the fault needs a cluster with a network of its
// own.
func (w Failover) CutsNetwork() bool { return w.Fault == "partition" || w.Fault == "one-way" }

// Harmless reports whether the fault may be given to a cluster that was not made
// for the run.
func (w Failover) Harmless() bool { return w.Fault == "transfer" }

// ErrNotSpawned says that a fault is not for a cluster that others may use.
var ErrNotSpawned = errors.New("failover: only a spawned cluster may be broken (--spawn)")

// DefaultFailover kills a leader twenty times.
func DefaultFailover() Failover {
	return Failover{
		Fault: "kill", Repetitions: 20, Conversations: 40, Interval: 10 * time.Millisecond,
		Calm: time.Second, Pause: 3 * time.Second, Recovery: time.Minute,
	}
}

// Validate reports every fault at once.
func (w Failover) Validate() error {
	var errs []error
	if _, ok := FailoverFaults[w.Fault]; !ok {
		errs = append(errs, fmt.Errorf("fault: %q is none of %s", w.Fault,
			strings.Join(slices.Sorted(maps.Keys(FailoverFaults)), ", ")))
	}
	if w.Repetitions < 1 || w.Repetitions > 10_000 {
		errs = append(errs, fmt.Errorf("repetitions: %d is not within 1 and 10000", w.Repetitions))
	}
	if w.Conversations < 1 || w.Conversations > 10_000 {
		errs = append(errs, fmt.Errorf("conversations: %d is not within 1 and 10000", w.Conversations))
	}
	if w.Interval < time.Millisecond || w.Calm <= 0 || w.Pause <= 0 || w.Recovery <= 0 {
		errs = append(errs, errors.New("interval (at least 1ms), calm, pause and recovery must be positive"))
	}
	return errors.Join(errs...)
}

// shortestGap is the shortest gap that is called one. A conversation whose gap
// is below it, or below the longest of the calm time before, did not notice the
// fault.
const shortestGap = 10 * time.Millisecond

// Run repeats the fault and gives one result.
func (w Failover) Run(ctx context.Context, r *Run) error {
	if err := w.Validate(); err != nil {
		return err
	}
	if !r.Target.Spawned() && !w.Harmless() {
		return ErrNotSpawned
	}
	if len(r.Target.Nodes) < 3 {
		return errors.New("failover: needs at least three nodes")
	}
	p, err := w.open(ctx, r)
	if err != nil {
		return err
	}
	defer p.close()
	gaps, worst, calm := NewHistogram(), NewHistogram(), NewHistogram()
	rnd := rand.New(rand.NewPCG(r.Seed, 5))
	affected := 0
	for i := range w.Repetitions {
		quiet := NewHistogram()
		one, err := p.repeat(ctx, rnd, quiet)
		if err != nil {
			return fmt.Errorf("repetition %d: %w", i+1, err)
		}
		calm.Merge(quiet)
		var most time.Duration
		least := max(shortestGap, quiet.At(100))
		for _, g := range one {
			most = max(most, g)
			if g >= least {
				gaps.Record(g)
				affected++
			}
		}
		worst.Record(most)
		r.say("%s %d of %d: %d of %d conversations noticed, the longest gap %v", w.Fault, i+1, w.Repetitions,
			countAbove(one, least), len(one), most.Round(time.Millisecond))
	}
	res := r.result(ctx, "failover", w.Fault, map[string]any{
		"fault": w.Fault, "repetitions": w.Repetitions, "conversations": w.Conversations,
		"interval_ms": float64(w.Interval) / 1e6, "pause_ms": float64(w.Pause) / 1e6,
	})
	res.Seconds = time.Since(p.begin).Seconds()
	res.Count = p.acked.Load()
	res.Rate = float64(res.Count) / res.Seconds
	res.Latency["gap"], res.Latency["worst_gap"], res.Latency["calm"] = gaps.Latency(), worst.Latency(), calm.Latency()
	res.Values["affected_per_repetition"] = float64(affected) / float64(w.Repetitions)
	res.Series, res.Marks = p.series(), p.marks
	res.Errors = p.faults()
	return r.Sink.Add(res)
}

func countAbove(gaps []time.Duration, least time.Duration) (n int) {
	for _, g := range gaps {
		if g >= least {
			n++
		}
	}
	return n
}

// repeat waits for a whole cluster, measures a calm time, breaks it and gives
// the gap of every conversation.
func (p *probes) repeat(ctx context.Context, rnd *rand.Rand, calm *Histogram) ([]time.Duration, error) {
	healthy, cancel := context.WithTimeout(ctx, p.w.Recovery)
	defer cancel()
	if err := p.r.Target.WaitHealthy(healthy); err != nil {
		return nil, err
	}
	victim, err := p.leader(ctx)
	if err != nil {
		return nil, err
	}
	p.avoid.Store(int32(victim))
	start := time.Now()
	if err := p.recovered(ctx, start); err != nil {
		return nil, err
	}
	p.measure(time.Now())
	// The moment of the fault is drawn, so that it does not fall into step
	// with anything periodic.
	if !wait(ctx, p.w.Calm+time.Duration(rnd.Int64N(int64(p.w.Calm)))) {
		return nil, ctx.Err()
	}
	for _, g := range p.gaps() {
		calm.Record(g)
	}
	if err := p.breakNode(ctx, victim, rnd); err != nil {
		return nil, err
	}
	gaps := p.gaps()
	p.avoid.Store(-1)
	return gaps, nil
}

// leader gives the node that leads most groups.
func (p *probes) leader(ctx context.Context) (int, error) {
	s, err := p.r.Target.Status(ctx, p.r.Target.Nodes[0])
	if err != nil {
		return 0, err
	}
	led := make(map[string]int)
	for _, g := range s.Groups {
		if g.Group != 0 {
			led[g.Leader]++
		}
	}
	best := 0
	for i, n := range p.r.Target.Nodes {
		if led[n.ID] > led[p.r.Target.Nodes[best].ID] {
			best = i
		}
	}
	return best, nil
}

// breakNode injects the fault, waits until everything is served again, and
// repairs it.
func (p *probes) breakNode(ctx context.Context, victim int, rnd *rand.Rand) error {
	n := p.r.Target.Nodes[victim]
	p.mark(p.w.Fault + " " + n.ID)
	fault := time.Now()
	p.measure(fault)
	switch p.w.Fault {
	case "kill":
		return p.restart(ctx, n, fault, n.Kill)
	case "stop":
		return p.restart(ctx, n, fault, n.Stop)
	case "pause":
		return p.pause(ctx, n, fault)
	case "partition", "one-way":
		return p.partition(ctx, n, fault)
	case "replace":
		return p.replace(ctx, victim)
	case "rolling":
		return p.rolling(ctx)
	default:
		return p.storm(ctx, rnd)
	}
}

// settled is how long a conversation must have been served after a fault for
// its gap to be over.
const settled = 300 * time.Millisecond

func (p *probes) restart(ctx context.Context, n *target.Node, fault time.Time, end func() error) error {
	if err := end(); err != nil {
		return err
	}
	if err := p.recovered(ctx, maxTime(fault, time.Now()).Add(settled)); err != nil {
		return err
	}
	p.mark("start " + n.ID)
	if err := n.Start(); err != nil {
		return err
	}
	return p.whole(ctx, n)
}

// whole waits until a node that was started again serves.
func (p *probes) whole(ctx context.Context, n *target.Node) error {
	ctx, cancel := context.WithTimeout(ctx, p.w.Recovery)
	defer cancel()
	if err := p.r.Target.WaitReady(ctx, n); err != nil {
		return err
	}
	return p.r.Target.WaitHealthy(ctx)
}

func (p *probes) pause(ctx context.Context, n *target.Node, fault time.Time) error {
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	ok := wait(ctx, p.w.Pause)
	p.mark("continue " + n.ID)
	if err := n.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if !ok {
		return ctx.Err()
	}
	return p.recovered(ctx, fault.Add(p.w.Pause).Add(settled))
}

func (p *probes) partition(ctx context.Context, n *target.Node, fault time.Time) error {
	if err := p.r.Target.Cut(n, p.w.Fault == "one-way"); err != nil {
		return err
	}
	ok := wait(ctx, p.w.Pause)
	p.mark("heal " + n.ID)
	if err := p.r.Target.Heal(); err != nil {
		return err
	}
	if !ok {
		return ctx.Err()
	}
	return p.recovered(ctx, fault.Add(p.w.Pause).Add(settled))
}

// replace gives the place of a node to a new one.
func (p *probes) replace(ctx context.Context, victim int) error {
	ctx, cancel := context.WithTimeout(ctx, p.w.Recovery)
	defer cancel()
	n, err := p.r.Target.Replace(ctx, p.r.Target.Nodes[victim])
	if err != nil {
		return err
	}
	p.mark(n.ID + " is in its place")
	if err := p.redial(ctx, victim); err != nil {
		return err
	}
	return p.recovered(ctx, time.Now().Add(settled))
}

func (p *probes) rolling(ctx context.Context) error {
	for i, n := range p.r.Target.Nodes {
		p.avoid.Store(int32(i))
		if err := p.recovered(ctx, time.Now()); err != nil { // what went by the old way is answered
			return err
		}
		p.mark("restart " + n.ID)
		if err := n.Stop(); err != nil {
			return err
		}
		if err := n.Start(); err != nil {
			return err
		}
		if err := p.whole(ctx, n); err != nil {
			return err
		}
		// Its own client must be back before it is used again: the time that a
		// client takes to come back is not the cluster's.
		if _, err := p.client(i).Ping(ctx); err != nil {
			return err
		}
	}
	return p.recovered(ctx, time.Now().Add(settled))
}

// stormStep is the time between two transfers of a storm.
const stormStep = 50 * time.Millisecond

func (p *probes) storm(ctx context.Context, rnd *rand.Rand) error {
	nodes := p.r.Target.Nodes
	s, err := p.r.Target.Status(ctx, nodes[0])
	if err != nil {
		return err
	}
	for end := time.Now().Add(p.w.Pause); time.Now().Before(end); {
		g := s.Groups[rnd.IntN(len(s.Groups))]
		to := nodes[rnd.IntN(len(nodes))]
		if g.Group != 0 {
			// Refused while another transfer of the group is under way, or when
			// it leads already: a storm does not ask.
			_ = p.r.Target.Transfer(ctx, nodes[rnd.IntN(len(nodes))], g.Group, to.ID)
		}
		if !wait(ctx, stormStep) {
			return ctx.Err()
		}
	}
	return p.recovered(ctx, time.Now().Add(settled))
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
