package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

// Connections opens many connections at once, leaves them idle, and then lets a
// few of them send.
type Connections struct {
	Connections []int
	AtOnce      int     // connects under way at a time
	Active      float64 // share of the connections that send once a second
	Idle        time.Duration
	Duration    time.Duration
}

// DefaultConnections opens up to 10,000.
func DefaultConnections() Connections {
	return Connections{Connections: []int{1000, 10_000}, AtOnce: 256, Active: 0.01, Idle: 5 * time.Second, Duration: 10 * time.Second}
}

// Validate reports every fault at once.
func (w Connections) Validate() error {
	var errs []error
	for _, n := range w.Connections {
		if n < 1 || n > connectionsMax {
			errs = append(errs, fmt.Errorf("connections: %d is not within 1 and %d", n, connectionsMax))
		}
	}
	if !slices.IsSorted(w.Connections) {
		errs = append(errs, errors.New("connections: give the numbers in growing order, since a node keeps the memory of those before"))
	}
	if len(w.Connections) == 0 || w.AtOnce < 1 || w.AtOnce > 10_000 || !(w.Active >= 0 && w.Active <= 1) || w.Idle <= 0 || w.Duration <= 0 {
		errs = append(errs, errors.New("give connections, 1 to 10000 at once, a share from 0 to 1 and positive times"))
	}
	return errors.Join(errs...)
}

// Run measures one point per number of connections.
func (w Connections) Run(ctx context.Context, r *Run) error {
	if err := w.Validate(); err != nil {
		return err
	}
	// A node keeps memory that connections of an earlier point have left, so all
	// points count from the same beginning.
	base := r.Target.Usage().RSS
	for _, n := range w.Connections {
		if err := w.point(ctx, r, n, base); err != nil {
			return err
		}
	}
	return nil
}

func (w Connections) point(ctx context.Context, r *Run, n int, base int64) error {
	start := r.Target.Usage()
	begin := time.Now()
	clients, took, err := r.open(ctx, n, w.AtOnce)
	defer closeAll(clients)
	if err != nil {
		return err
	}
	storm := time.Since(begin)
	opened := r.Target.Usage()
	r.say("%d connections in %.1f s", n, storm.Seconds())
	if !wait(ctx, w.Idle) {
		return ctx.Err()
	}
	idle := r.Target.Usage()
	convs, err := r.conversations(ctx, clients[0], w.speakers(n))
	if err != nil {
		return err
	}
	before := r.Target.Usage()
	acks, errs, err := w.speak(ctx, clients, convs)
	if err != nil {
		return err
	}
	active := r.Target.Usage()
	res := r.result(ctx, "connections", fmt.Sprintf("%d connections", n), map[string]any{
		"connections": n, "at_once": w.AtOnce, "active": w.Active, "idle_s": w.Idle.Seconds(),
	})
	res.Seconds = w.Duration.Seconds()
	res.Count = acks.Count()
	res.Rate = float64(acks.Count()) / res.Seconds
	res.Latency["connect"], res.Latency["ack"] = took.Latency(), acks.Latency()
	res.Errors = errs
	res.Values["connects_per_second"] = float64(n) / storm.Seconds()
	res.Values["connect_cpu_us"] = opened.Sub(start).CPU.Seconds() * 1e6 / float64(n)
	res.Values["idle_kib_per_connection"] = float64(idle.RSS-base) / float64(n) / 1024
	res.Values["active_kib_per_connection"] = float64(active.RSS-base) / float64(n) / 1024
	res.Values["idle_cores"] = idle.Sub(opened).CPU.Seconds() / w.Idle.Seconds()
	res.use(active.Sub(before))
	r.say("%d connections: %.1f KiB each, %.0f connects/s, ack p99 %.2f ms", n,
		res.Values["idle_kib_per_connection"], res.Values["connects_per_second"], res.Latency["ack"].P99)
	return r.Sink.Add(res)
}

// speakers is how many of n connections send.
func (w Connections) speakers(n int) int {
	if w.Active == 0 {
		return 0
	}
	return max(1, int(w.Active*float64(n)))
}

// speak lets one connection for each conversation send once a second, spread over
// the second.
func (w Connections) speak(ctx context.Context, clients []*client.Client, convs []chat.ConvID) (*Histogram, map[string]int64, error) {
	n := len(convs)
	acks, errs := NewHistogram(), make(map[string]int64)
	if n == 0 {
		wait(ctx, w.Duration)
		return acks, errs, ctx.Err()
	}
	var mu sync.Mutex // guards acks and errs
	var out sync.WaitGroup
	begin := time.Now()
	step := time.Second / time.Duration(n)
	for i := 0; ; i++ {
		due := time.Duration(i) * step
		if due >= w.Duration {
			break
		}
		if early := due - time.Since(begin); early > 0 && !wait(ctx, early) {
			break
		}
		out.Add(1)
		err := clients[i%n].SendAsync(ctx, client.Message{Conv: convs[i%n], Text: "hello"}, func(_ chat.Ack, err error) {
			defer out.Done()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs[string(chat.CodeOf(err))]++
				return
			}
			acks.Record(time.Since(begin) - due)
		})
		if err != nil {
			out.Done()
			return nil, nil, err
		}
	}
	out.Wait()
	return acks, errs, ctx.Err()
}
