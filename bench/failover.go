package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/chatnode/chatnode/bench/target"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
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
	Pause         time.Duration // of a paused node, and length of a storm of transfers
	Recovery      time.Duration // longest wait for the cluster to be whole again
}

// FailoverFaults are the faults with what they do.
var FailoverFaults = map[string]string{
	"kill":     "SIGKILL to the node that leads most groups, then start it again",
	"pause":    "SIGSTOP to that node, SIGCONT after the pause",
	"stop":     "graceful stop of that node, then start it again",
	"transfer": "a storm of leadership transfers",
	"rolling":  "graceful restart of one node after the other",
}

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
		errs = append(errs, fmt.Errorf("fault: %q is none of kill, pause, stop, transfer and rolling", w.Fault))
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
	if !r.Target.Spawned() && w.Fault != "transfer" {
		return errors.New("failover: only a spawned cluster may be broken (--spawn)")
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

// probes is the load around the faults.
type probes struct {
	w       Failover
	r       *Run
	clients []*client.Client // one per node
	convs   []probe
	begin   time.Time
	stop    context.CancelFunc
	running sync.WaitGroup
	acked   atomic.Int64
	avoid   atomic.Int32 // the node whose client is not used
	marks   []Mark

	mu     sync.Mutex // guards the rest
	errors map[string]int64
	counts []int64 // acks per seriesStep
}

const seriesStep = 100 * time.Millisecond

// probe is one conversation.
type probe struct {
	conv chat.ConvID
	mu   sync.Mutex // guards the rest
	from time.Time  // gaps are measured from here; zero for not at all
	gap  time.Duration
	last time.Time // start of the newest send that was acknowledged
}

func (w Failover) open(ctx context.Context, r *Run) (*probes, error) {
	p := &probes{w: w, r: r, begin: time.Now(), errors: make(map[string]int64)}
	var err error
	if p.clients, err = r.dial(ctx, len(r.Target.Nodes), func(_ int, cfg *client.Config) {
		cfg.InFlightMax = 1 << 16
		cfg.BackoffMin, cfg.BackoffMax = 10*time.Millisecond, 200*time.Millisecond
		cfg.PingInterval, cfg.PongTimeout = time.Second, time.Second
	}); err != nil {
		return nil, err
	}
	ids, err := r.conversations(ctx, p.clients[0], w.Conversations)
	if err != nil {
		closeAll(p.clients)
		return nil, err
	}
	p.convs = make([]probe, len(ids))
	for i, id := range ids {
		p.convs[i].conv = id
	}
	p.avoid.Store(-1)
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.running.Go(func() { p.send(life) })
	return p, nil
}

func (p *probes) close() {
	p.stop()
	p.running.Wait()
	closeAll(p.clients)
}

// send walks through the conversations, each once per interval.
func (p *probes) send(ctx context.Context) {
	step := p.w.Interval / time.Duration(len(p.convs))
	begin := time.Now()
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(i) * step)
		if early := time.Until(due); early > 200*time.Microsecond && !wait(ctx, early) || ctx.Err() != nil {
			return
		}
		c := &p.convs[i%len(p.convs)]
		via := i % len(p.convs) % len(p.clients)
		if via == int(p.avoid.Load()) {
			via = (via + 1) % len(p.clients)
		}
		start := time.Now()
		err := p.clients[via].SendAsync(ctx, client.Message{Conv: c.conv, Text: "probe", NoWait: true}, func(_ chat.Ack, err error) {
			p.answer(c, start, err)
		})
		if err != nil {
			p.fault(err)
		}
	}
}

func (p *probes) fault(err error) {
	p.mu.Lock()
	p.errors[string(chat.CodeOf(err))]++
	p.mu.Unlock()
}

func (p *probes) faults() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errors
}

func (p *probes) answer(c *probe, start time.Time, err error) {
	if err != nil {
		p.fault(err)
		return
	}
	now := time.Now()
	c.mu.Lock()
	if !c.from.IsZero() {
		since := start
		if since.Before(c.from) {
			since = c.from
		}
		c.gap = max(c.gap, now.Sub(since))
	}
	if start.After(c.last) {
		c.last = start
	}
	c.mu.Unlock()
	p.acked.Add(1)
	k := int(now.Sub(p.begin) / seriesStep)
	p.mu.Lock()
	for len(p.counts) <= k && len(p.counts) < seriesMax {
		p.counts = append(p.counts, 0)
	}
	if k < len(p.counts) {
		p.counts[k]++
	}
	p.mu.Unlock()
}

// seriesMax bounds the timeline: ten minutes.
const seriesMax = 6000

func (p *probes) series() []Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Sample, len(p.counts))
	for i, n := range p.counts {
		all[i] = Sample{At: float64(i) * seriesStep.Seconds(), Rate: float64(n) / seriesStep.Seconds()}
	}
	return all
}

func (p *probes) mark(text string) {
	p.marks = append(p.marks, Mark{At: time.Since(p.begin).Seconds(), Text: text})
}

// measure starts the count of gaps anew.
func (p *probes) measure(from time.Time) {
	for i := range p.convs {
		c := &p.convs[i]
		c.mu.Lock()
		c.from, c.gap = from, 0
		c.mu.Unlock()
	}
}

// recovered waits until every conversation has acknowledged a send that was
// started after the moment given.
func (p *probes) recovered(ctx context.Context, after time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, p.w.Recovery)
	defer cancel()
	for i := range p.convs {
		c := &p.convs[i]
		for {
			c.mu.Lock()
			ok := c.last.After(after)
			c.mu.Unlock()
			if ok {
				break
			}
			if !wait(ctx, 2*time.Millisecond) {
				return fmt.Errorf("conversation %s is not served: %w", c.conv, ctx.Err())
			}
		}
	}
	return nil
}

func (p *probes) gaps() []time.Duration {
	all := make([]time.Duration, len(p.convs))
	for i := range p.convs {
		c := &p.convs[i]
		c.mu.Lock()
		all[i] = c.gap
		c.from = time.Time{}
		c.mu.Unlock()
	}
	return all
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
		if _, err := p.clients[i].Ping(ctx); err != nil {
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
