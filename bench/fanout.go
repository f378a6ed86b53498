package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatnode/chatnode/bench/target"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

// Fanout sends to one conversation at a fixed rate and measures, at each of
// many subscribers, the time from the scheduled send to the delivery.
type Fanout struct {
	Subscribers []int
	Rate        float64 // messages per second
	Bytes       int
	Warmup      time.Duration
	Duration    time.Duration
}

// DefaultFanout has 100 to 10,000 subscribers.
func DefaultFanout() Fanout {
	return Fanout{Subscribers: []int{100, 1000, 10_000}, Rate: 2, Bytes: 256, Warmup: 2 * time.Second, Duration: 10 * time.Second}
}

// connectionsMax bounds the connections of a workload.
const connectionsMax = 200_000

// Validate reports every fault at once.
func (w Fanout) Validate() error {
	var errs []error
	for _, n := range w.Subscribers {
		if n < 1 || n > connectionsMax {
			errs = append(errs, fmt.Errorf("subscribers: %d is not within 1 and %d", n, connectionsMax))
		}
	}
	if len(w.Subscribers) == 0 || !(w.Rate > 0 && w.Rate <= 1e5) || w.Bytes < stampBytes || w.Bytes > chat.TextRunesMax || w.Duration <= 0 || w.Warmup < 0 {
		errs = append(errs, fmt.Errorf("give subscribers, a rate up to 100000, a payload of %d to %d bytes and positive times", stampBytes, chat.TextRunesMax))
	}
	if n := w.Rate * w.Duration.Seconds(); !(n >= 1) {
		errs = append(errs, fmt.Errorf("rate: %g a second sends nothing within %v", w.Rate, w.Duration))
	}
	return errors.Join(errs...)
}

// Run measures one point per number of subscribers.
func (w Fanout) Run(ctx context.Context, r *Run) error {
	if err := w.Validate(); err != nil {
		return err
	}
	for _, n := range w.Subscribers {
		if err := w.point(ctx, r, n); err != nil {
			return err
		}
	}
	return nil
}

// lean makes a connection that costs its owner little.
func lean(_ int, cfg *client.Config) {
	cfg.BufferBytes = 1 << 10
	cfg.PingInterval, cfg.PongTimeout = 50*time.Second, 20*time.Second
}

// shards is the number of histograms that deliveries are counted in.
const shards = 32

// audience is the deliveries of one point.
type audience struct {
	begin time.Time    // stamps count from here
	from  atomic.Int64 // the first stamp of the window
	seen  atomic.Int64
	hist  [shards]struct {
		mu sync.Mutex
		h  *Histogram
	}
}

func (a *audience) deliver(shard int, entries []chat.Entry) {
	for i := range entries {
		stamp, _, ok := strings.Cut(entries[i].Body.Text, "|")
		due, err := strconv.ParseInt(stamp, 10, 64)
		if !ok || err != nil || due < a.from.Load() {
			continue
		}
		took := time.Since(a.begin) - time.Duration(due)
		s := &a.hist[shard%shards]
		s.mu.Lock()
		s.h.Record(took)
		s.mu.Unlock()
		a.seen.Add(1)
	}
}

func (w Fanout) point(ctx context.Context, r *Run, n int) error {
	sender, err := r.dial(ctx, 1, nil)
	if err != nil {
		return err
	}
	defer closeAll(sender)
	convs, err := r.conversations(ctx, sender[0], 1)
	if err != nil {
		return err
	}
	a := &audience{begin: time.Now()}
	a.from.Store(math.MaxInt64)
	for i := range a.hist {
		a.hist[i].h = NewHistogram()
	}
	clients, _, err := r.open(ctx, n, 64)
	defer closeAll(clients)
	if err != nil {
		return err
	}
	subs := make([]*client.Subscription, len(clients))
	for i, c := range clients {
		if subs[i], err = c.SubscribeFunc(convs[0], 0, func(e []chat.Entry) { a.deliver(i, e) }); err != nil {
			return err
		}
	}
	for _, s := range subs {
		if err := s.Ready(ctx); err != nil {
			return err
		}
	}
	offset := time.Since(a.begin)
	a.from.Store(int64(offset + w.Warmup))
	sent, before := w.send(ctx, r, sender[0], convs[0], a.begin, offset)
	// What nodes and load do after the schedule, to deliver what is late, counts: a
	// cluster that falls behind would else look faster and cheaper.
	took, used := w.Duration, r.Target.Usage().Sub(before)
	for deadline := time.Now().Add(drainMax); a.seen.Load() < sent*int64(n) && time.Now().Before(deadline); {
		if !wait(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
		if a.seen.Load() >= sent*int64(n) {
			took, used = time.Since(a.begin)-offset-w.Warmup, r.Target.Usage().Sub(before)
		}
	}
	return w.report(ctx, r, a, n, sent, max(took, w.Duration), used)
}

func (w Fanout) report(ctx context.Context, r *Run, a *audience, n int, sent int64, took time.Duration, used target.Usage) error {
	res := r.result(ctx, "fanout", fmt.Sprintf("%d subscribers", n), map[string]any{
		"subscribers": n, "rate": w.Rate, "payload_bytes": w.Bytes,
	})
	all := NewHistogram()
	for i := range a.hist {
		all.Merge(a.hist[i].h)
	}
	res.Seconds = took.Seconds()
	res.Count = all.Count()
	res.Rate = float64(all.Count()) / res.Seconds
	res.Latency["delivery"] = all.Latency()
	res.Values["messages"] = float64(sent)
	res.Values["deliveries_missing"] = float64(sent*int64(n) - all.Count())
	res.use(used)
	r.say("%d subscribers: %.0f deliveries/s, p50 %.1f p99 %.1f ms, %.1f us CPU of nodes per delivery", n, res.Rate,
		res.Latency["delivery"].P50, res.Latency["delivery"].P99, res.Resources.NodeCPUPerOpUS)
	return r.Sink.Add(res)
}

// send follows the schedule, which starts at begin and offset, and gives the messages
// of the window and what had been used at its begin.
func (w Fanout) send(ctx context.Context, r *Run, c *client.Client, conv chat.ConvID, begin time.Time, offset time.Duration) (sent int64, before target.Usage) {
	filler := texts(rand.New(rand.NewPCG(r.Seed, 6)), w.Bytes)[0]
	started := false
	for i := 0; ; i++ {
		due := time.Duration(float64(i) / w.Rate * float64(time.Second))
		if due >= w.Warmup+w.Duration || !wait(ctx, max(0, offset+due-time.Since(begin))) {
			wait(ctx, offset+w.Warmup+w.Duration-time.Since(begin))
			return sent, before
		}
		if due >= w.Warmup {
			if !started {
				started, before = true, r.Target.Usage()
			}
			sent++
		}
		stamp := strconv.FormatInt(int64(offset+due), 10) + "|"
		err := c.SendAsync(ctx, client.Message{Conv: conv, Text: stamp + filler[len(stamp):]}, nil)
		if err != nil {
			return sent, before
		}
	}
}

// open makes n lean connections, atOnce at a time, and gives how long each
// took.
func (r *Run) open(ctx context.Context, n, atOnce int) ([]*client.Client, *Histogram, error) {
	urls := r.Target.URLs()
	clients := make([]*client.Client, n)
	took := NewHistogram()
	var mu sync.Mutex // guards took and first
	var first error
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		mu.Lock()
		failed := first != nil
		mu.Unlock()
		if failed || ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			cfg := client.DefaultConfig()
			lean(i, &cfg)
			start := time.Now()
			c, err := client.Dial(ctx, urls[i%len(urls):i%len(urls)+1], r.Target.Tokens(r.user()), cfg)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				first = errors.Join(first, err)
				return
			}
			clients[i] = c
			took.Record(time.Since(start))
		})
	}
	wg.Wait()
	open := clients[:0]
	for _, c := range clients {
		if c != nil {
			open = append(open, c)
		}
	}
	if first == nil {
		first = ctx.Err()
	}
	return open, took, first
}
