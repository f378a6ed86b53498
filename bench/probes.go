package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

// probes is the load around the faults.
type probes struct {
	w       Failover
	r       *Run
	convs   []probe
	begin   time.Time
	stop    context.CancelFunc
	running sync.WaitGroup
	acked   atomic.Int64
	avoid   atomic.Int32 // the node whose client is not used
	marks   []Mark

	mu      sync.Mutex       // guards the rest
	clients []*client.Client // one per node
	errors  map[string]int64
	counts  []int64 // acks per step
	step    time.Duration
}

// seriesStep is the step of a short timeline. One that would have more than
// seriesMax steps goes on with steps of twice the length.
const (
	seriesStep = 100 * time.Millisecond
	seriesMax  = 6000
)

// probe is one conversation.
type probe struct {
	conv chat.ConvID
	mu   sync.Mutex // guards the rest
	from time.Time  // gaps are measured from here; zero for not at all
	gap  time.Duration
	last time.Time // start of the newest send that was acknowledged
}

func (w Failover) open(ctx context.Context, r *Run) (*probes, error) {
	p := &probes{w: w, r: r, begin: time.Now(), errors: make(map[string]int64), step: seriesStep}
	var err error
	if p.clients, err = r.dial(ctx, len(r.Target.Nodes), probing); err != nil {
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

// probing makes clients that notice at once when they are cut off.
func probing(_ int, cfg *client.Config) {
	cfg.InFlightMax = 1 << 16
	cfg.BackoffMin, cfg.BackoffMax = 10*time.Millisecond, 200*time.Millisecond
	cfg.PingInterval, cfg.PongTimeout = time.Second, time.Second
}

// client is the client of the node at a place.
func (p *probes) client(place int) *client.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients[place]
}

// redial gives a place whose node was replaced a client of the new node.
func (p *probes) redial(ctx context.Context, place int) error {
	fresh, err := p.r.dialOne(ctx, place, probing)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old := p.clients[place]
	p.clients[place] = fresh
	p.mu.Unlock()
	return old.Close()
}

func (p *probes) close() {
	p.stop()
	p.running.Wait()
	closeAll(p.clients)
}

// send walks through the conversations, each once per interval.
func (p *probes) send(ctx context.Context) {
	step := p.w.Interval / time.Duration(len(p.convs))
	begin, nodes := time.Now(), len(p.r.Target.Nodes)
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(i) * step)
		if early := time.Until(due); early > 200*time.Microsecond && !wait(ctx, early) || ctx.Err() != nil {
			return
		}
		c := &p.convs[i%len(p.convs)]
		via := i % len(p.convs) % nodes
		if via == int(p.avoid.Load()) {
			via = (via + 1) % nodes
		}
		start := time.Now()
		err := p.client(via).SendAsync(ctx, client.Message{Conv: c.conv, Text: "probe", NoWait: true}, func(_ chat.Ack, err error) {
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
	p.count(now.Sub(p.begin))
}

// count puts an acknowledgement on the timeline.
func (p *probes) count(at time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at/p.step >= seriesMax {
		p.step *= 2
		for i := range p.counts {
			if i%2 == 0 {
				p.counts[i/2] = p.counts[i]
			} else {
				p.counts[i/2] += p.counts[i]
			}
		}
		p.counts = p.counts[:(len(p.counts)+1)/2]
	}
	k := int(at / p.step)
	for len(p.counts) <= k {
		p.counts = append(p.counts, 0)
	}
	p.counts[k]++
}

// series gives the timeline. A sample is of the step that ends at its time, as in
// every series, so that what a fault did is not drawn before the fault.
func (p *probes) series() []Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Sample, len(p.counts))
	for i, n := range p.counts {
		all[i] = Sample{At: float64(i+1) * p.step.Seconds(), Rate: float64(n) / p.step.Seconds()}
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
