package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// system is a cluster of three servers and the native client's way of using it.
type system interface {
	// start brings the cluster up below dir and returns when it serves.
	start(ctx context.Context, dir string) error
	stop()
	procs() []*process
	// appendLoop keeps n appends in flight until ctx ends and reports each.
	appendLoop(ctx context.Context, n int, body []byte, done func(took time.Duration, err error)) error
	// append appends one message and waits for its acknowledgement.
	append(ctx context.Context, body []byte) error
	// page reads pageMessages messages that begin at a position drawn from pos.
	page(ctx context.Context, worker int, pos uint64) (int, error)
	// watch calls got with each appended body in order until ctx ends, from a
	// server that does not lead.
	watch(ctx context.Context, got func(body []byte)) error
	// leader is the index of the process that leads.
	leader(ctx context.Context) (int, error)
	restart(i int) error
}

func measure(ctx context.Context, o options) (Result, error) {
	dir, err := os.MkdirTemp(o.Dir, "peerbench")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(dir)
	var s system
	if o.System == "etcd" {
		s = &etcd{binary: o.Binary}
	} else {
		s = &jetstream{binary: o.Binary, sync: o.Sync, streams: o.Streams}
	}
	defer s.stop()
	if err := s.start(ctx, dir); err != nil {
		return Result{}, fmt.Errorf("%s: %w", o.System, err)
	}
	res := Result{System: o.System, Work: o.Work, Bytes: o.Bytes}
	if o.System == "jetstream" {
		res.Sync = o.Sync
	}
	r := runner{s: s, o: o, dir: dir, res: &res}
	switch o.Work {
	case "append":
		err = r.closedLoop(ctx)
	case "pages":
		err = r.pages(ctx)
	case "latency":
		err = r.openLoop(ctx)
	case "failover":
		err = r.failover(ctx)
	}
	return res, err
}

type runner struct {
	s   system
	o   options
	dir string
	res *Result
}

func (r *runner) body() []byte {
	b := make([]byte, r.o.Bytes)
	_, _ = rand.Read(b) // never fails
	return b
}

// meter counts what happens between begin and end.
type meter struct {
	r         *runner
	at        time.Time
	cpu, load time.Duration
	stolen    time.Duration
	disk      int64
}

func (r *runner) begin() meter {
	return meter{r: r, at: time.Now(), cpu: cpuOf(r.s.procs()), load: ownCPU(), stolen: stolen(), disk: diskBytes(r.dir)}
}

func (m meter) end(ops int64) {
	res := m.r.res
	took := time.Since(m.at)
	cpu, load := cpuOf(m.r.s.procs())-m.cpu, ownCPU()-m.load
	res.Ops, res.Seconds = ops, took.Seconds()
	res.Rate = float64(ops) / took.Seconds()
	res.Stolen = (stolen() - m.stolen).Seconds() / took.Seconds() / float64(runtime.NumCPU())
	if n := float64(max(ops, 1)); ops > 0 {
		res.ServerCPU = float64(cpu.Microseconds()) / n
		res.LoadCPU = float64(load.Microseconds()) / n
		res.DiskBytes = float64(diskBytes(m.r.dir)-m.disk) / n
	}
}

func (r *runner) closedLoop(ctx context.Context) error {
	r.res.Outstanding = r.o.Outstanding
	var (
		mu     sync.Mutex
		h      = newHistogram()
		ops    atomic.Int64
		failed atomic.Int64
		on     atomic.Bool
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- r.s.appendLoop(ctx, r.o.Outstanding, r.body(), func(took time.Duration, err error) {
			switch {
			case !on.Load():
			case err != nil:
				failed.Add(1)
			default:
				ops.Add(1)
				mu.Lock()
				h.record(took)
				mu.Unlock()
			}
		})
	}()
	if err := wait(ctx, warmUp); err != nil {
		return err
	}
	m := r.begin()
	on.Store(true)
	err := wait(ctx, r.o.Duration)
	on.Store(false)
	m.end(ops.Load())
	cancel()
	if lerr := <-ended; lerr != nil {
		return lerr
	}
	r.res.Failed = failed.Load()
	mu.Lock()
	defer mu.Unlock()
	r.res.Ack = h.times()
	return err
}

// preload appends n messages.
func (r *runner) preload(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var left atomic.Int64
	left.Store(int64(n))
	var first latch
	err := r.s.appendLoop(ctx, 256, r.body(), func(_ time.Duration, err error) {
		if err != nil && left.Load() > 0 {
			first.set(err)
		}
		if left.Add(-1) <= 0 || err != nil {
			cancel()
		}
	})
	if err != nil {
		return err
	}
	return first.err
}

const pageMessages = 50

func (r *runner) pages(ctx context.Context) error {
	r.res.Outstanding = r.o.Outstanding
	if err := r.preload(ctx, r.o.Preload); err != nil {
		return fmt.Errorf("preload: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Duration)
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		h    = newHistogram()
		ops  atomic.Int64
		bad  atomic.Int64
		span = uint64(r.o.Preload - pageMessages)
	)
	m := r.begin()
	for w := range r.o.Outstanding {
		wg.Go(func() {
			own := newHistogram()
			pos := uint64(w) * 7919
			for ctx.Err() == nil {
				pos = pos*6364136223846793005 + 1442695040888963407
				at := time.Now()
				n, err := r.s.page(ctx, w, 1+(pos>>33)%span)
				switch {
				case ctx.Err() != nil:
				case err != nil || n != pageMessages:
					bad.Add(1)
				default:
					own.record(time.Since(at))
					ops.Add(1)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			h.merge(own)
		})
	}
	wg.Wait()
	m.end(ops.Load())
	r.res.DiskBytes = 0
	r.res.Ack, r.res.Failed = h.times(), bad.Load()
	return nil
}

// rate is what the open loop shall do. A share is of what a closed loop of
// loadOutstanding does right before.
func (r *runner) rate(ctx context.Context) (int, error) {
	if r.o.Share == 0 {
		return r.o.Rate, nil
	}
	o := r.o
	r.o.Outstanding = loadOutstanding
	err := r.closedLoop(ctx)
	most := r.res.Rate
	r.o = o
	*r.res = Result{System: r.res.System, Work: r.res.Work, Sync: r.res.Sync, Bytes: r.res.Bytes}
	return max(1, int(most*float64(o.Share)/100)), err
}

const loadOutstanding = 1024

// openLoop sends at scheduled times and counts from these, so that a stall of
// the server counts for all that should have been sent meanwhile (Tene,
// "coordinated omission").
func (r *runner) openLoop(ctx context.Context) error {
	rate, err := r.rate(ctx)
	if err != nil {
		return err
	}
	r.res.TargetRate = rate
	var mu sync.Mutex
	ack, e2e := newHistogram(), newHistogram()
	base := time.Now()
	var from atomic.Int64 // after base; a message that was due before is no part of the window
	from.Store(math.MaxInt64)
	wctx, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	if err := r.s.watch(wctx, func(b []byte) {
		if len(b) < 8 {
			return
		}
		due, now := int64(binary.BigEndian.Uint64(b)), time.Since(base)
		if due < from.Load() || due > int64(now) { // of the warm-up, or of a closed loop before
			return
		}
		mu.Lock()
		e2e.record(now - time.Duration(due))
		mu.Unlock()
	}); err != nil {
		return err
	}
	var wg sync.WaitGroup
	var ops, failed atomic.Int64
	slots := make(chan struct{}, outstandingMax)
	first := time.Since(base)
	window := first + warmUp
	from.Store(int64(window))
	var m meter
	every := time.Second / time.Duration(rate)
	for due := first; due < window+r.o.Duration; due += every {
		if err := waitUntil(ctx, base.Add(due)); err != nil {
			break
		}
		counts := due >= window
		if counts && m.r == nil {
			m = r.begin()
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			body := r.body()
			binary.BigEndian.PutUint64(body, uint64(due))
			err := r.s.append(ctx, body)
			took := time.Since(base) - due
			switch {
			case !counts:
			case err != nil:
				failed.Add(1)
			default:
				ops.Add(1)
				mu.Lock()
				ack.record(took)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if m.r == nil {
		return ctx.Err()
	}
	m.end(ops.Load())
	_ = wait(ctx, 300*time.Millisecond) // the last deliveries
	mu.Lock()
	defer mu.Unlock()
	t := e2e.times()
	r.res.Ack, r.res.EndToEnd, r.res.Failed = ack.times(), &t, failed.Load()
	return ctx.Err()
}

func (r *runner) failover(ctx context.Context) error {
	body := r.body()
	for range r.o.Rounds {
		if err := r.settle(ctx, body); err != nil {
			return err
		}
		i, err := r.s.leader(ctx)
		if err != nil {
			return err
		}
		at := time.Now()
		r.s.procs()[i].kill()
		for {
			actx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			err := r.s.append(actx, body)
			cancel()
			if err == nil {
				break
			}
			if time.Since(at) > time.Minute {
				return fmt.Errorf("no append within a minute of the kill: %w", err)
			}
		}
		r.res.Gaps = append(r.res.Gaps, float64(time.Since(at).Microseconds())/1000)
		if err := r.s.restart(i); err != nil {
			return err
		}
		if err := wait(ctx, 3*time.Second); err != nil { // let it catch up
			return err
		}
	}
	return nil
}

func (r *runner) settle(ctx context.Context, body []byte) error {
	for range 50 {
		if err := r.s.append(ctx, body); err != nil {
			if err := wait(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func wait(ctx context.Context, d time.Duration) error { return waitUntil(ctx, time.Now().Add(d)) }

func waitUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
