package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

func goVersion() string { return runtime.Version() }

// Throughput is a closed loop: a number of operations is always outstanding,
// and each answer starts the next one.
type Throughput struct {
	Outstanding   []int
	Connections   int // 0 for as many as the outstanding need, at least two per node
	Conversations int
	Zipf          float64 // exponent above 1 for a skewed choice of conversations, 0 for an even one
	Bytes         int     // of a message
	Reads         float64 // share of operations that read a page, from 0 to 1
	PageLimit     int     // entries of such a page
	Anywhere      bool    // pages begin at places drawn evenly; otherwise they are the newest
	Preload       int     // messages in each conversation before pages are read
	Warmup        time.Duration
	Duration      time.Duration
}

// DefaultThroughput is the load of the figures that the project states.
func DefaultThroughput() Throughput {
	return Throughput{
		Outstanding: []int{1, 16, 64, 256, 1024}, Conversations: 1000, Bytes: 256, PageLimit: 50, Preload: 100,
		Warmup: time.Second, Duration: 5 * time.Second,
	}
}

// Validate reports every fault at once.
func (w Throughput) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, n := range w.Outstanding {
		if n < 1 || n > 65_536 {
			fault("outstanding: %d is not within 1 and 65536", n)
		}
	}
	if len(w.Outstanding) == 0 {
		fault("outstanding: give at least one number")
	}
	if w.Conversations < 1 || w.Conversations > 1_000_000 {
		fault("conversations: %d is not within 1 and 1000000", w.Conversations)
	}
	if w.Zipf != 0 && !(w.Zipf > 1 && w.Zipf <= 1e6) {
		fault("zipf: %g is neither 0 nor above 1 and at most 1e6", w.Zipf)
	}
	if w.Bytes < 1 || w.Bytes > chat.TextBytesMax {
		fault("payload: %d bytes is not within 1 and %d", w.Bytes, chat.TextBytesMax)
	}
	if !(w.Reads >= 0 && w.Reads <= 1) {
		fault("reads: %g is not within 0 and 1", w.Reads)
	}
	if w.Reads > 0 && (w.PageLimit < 1 || w.Preload < w.PageLimit) {
		fault("preload: %d messages do not fill a page of %d", w.Preload, w.PageLimit)
	}
	if w.Reads > 0 && float64(w.Preload)*float64(w.Conversations)*float64(textBytes(w.Bytes)) > preloadBytesMax {
		fault("preload: %d messages of %d bytes in each of %d conversations are more than %d GiB; take fewer", w.Preload, textBytes(w.Bytes), w.Conversations, preloadBytesMax>>30)
	}
	if w.Duration <= 0 || w.Warmup < 0 {
		fault("duration: %v and warm-up %v must be positive", w.Duration, w.Warmup)
	}
	return errors.Join(errs...)
}

// Run measures one point per number of outstanding operations.
func (w Throughput) Run(ctx context.Context, r *Run) error {
	if err := w.Validate(); err != nil {
		return err
	}
	setup, err := r.dial(ctx, 1, nil)
	if err != nil {
		return err
	}
	convs, err := r.conversations(ctx, setup[0], w.Conversations)
	closeAll(setup)
	if err != nil {
		return err
	}
	if w.Reads > 0 {
		if err := w.fill(ctx, r, convs); err != nil {
			return err
		}
	}
	for _, n := range w.Outstanding {
		res, err := w.Point(ctx, r, convs, n)
		if err != nil {
			return err
		}
		if err := r.Sink.Add(res); err != nil {
			return err
		}
	}
	return nil
}

// connections says over how many connections n operations are spread: enough
// that no conversation has more in flight per device than a node allows.
func (w Throughput) connections(nodes, n int) int {
	if w.Connections > 0 {
		return min(w.Connections, n)
	}
	perConn := chat.UnackedPerConvMax * w.Conversations
	return min(n, max(2*nodes, (n+perConn-1)/perConn))
}

// phase of a closed loop.
const (
	warming int32 = iota
	measuring
	stopping
)

// Point measures one number of outstanding operations.
func (w Throughput) Point(ctx context.Context, r *Run, convs []chat.ConvID, n int) (Result, error) {
	conns := w.connections(len(r.Target.Nodes), n)
	clients, err := r.dial(ctx, conns, func(_ int, cfg *client.Config) { cfg.InFlightMax = n + 1; cfg.InFlightBytesMax = 1 << 30 })
	if err != nil {
		return Result{}, err
	}
	defer closeAll(clients)
	l := newLoop(ctx, w, convs, clients, n, r.Seed)
	label := fmt.Sprintf("%d outstanding", n)
	l.start()
	wait(ctx, w.Warmup)
	elections := r.elections(ctx)
	before := r.Target.Usage()
	begin := time.Now()
	l.phase.Store(measuring)
	series := l.watch(ctx, w.Duration, func(s Sample) { r.say("%s: %.0f/s", label, s.Rate) })
	l.phase.Store(stopping)
	window := time.Since(begin)
	used := r.Target.Usage().Sub(before)
	l.drain(ctx)
	res := r.result(ctx, "throughput", label, map[string]any{
		"outstanding": n, "connections": conns, "conversations": w.Conversations, "zipf": w.Zipf,
		"payload_bytes": textBytes(w.Bytes), "reads": w.Reads, "page_limit": w.PageLimit, "anywhere": w.Anywhere, "preload": w.Preload,
	})
	l.report(&res, window)
	res.Series = series
	res.use(used)
	elections(&res)
	r.say("%s: %.0f/s p50 %.2f ms p99 %.2f ms, %.1f us CPU of nodes and %.1f of load per operation",
		label, res.Rate, res.Latency["ack"].P50, res.Latency["ack"].P99, res.Resources.NodeCPUPerOpUS, res.Resources.LoadCPUPerOpUS)
	return res, ctx.Err()
}

// loop is the running load of one point.
type loop struct {
	ctx     context.Context // ends the whole load: callbacks have no other
	w       Throughput
	convs   []chat.ConvID
	texts   []string
	conns   []*lane
	phase   atomic.Int32
	done    atomic.Int64 // answers within the window
	busy    sync.WaitGroup
	errorMu sync.Mutex
	errors  map[string]int64
}

// lane is one connection of a loop. Its histograms belong to the goroutine that
// reads the connection, and to nobody until then.
type lane struct {
	c     *client.Client
	acks  *Histogram
	reads *Histogram
	slots []slot
}

// slot is one outstanding operation.
type slot struct {
	l      *loop
	lane   *lane
	rnd    *rand.Rand
	zipf   *rand.Zipf
	start  time.Time
	onAck  func(chat.Ack, error)
	onPage func(client.Page, error)
}

func newLoop(ctx context.Context, w Throughput, convs []chat.ConvID, clients []*client.Client, n int, seed uint64) *loop {
	l := &loop{
		ctx: ctx, w: w, convs: convs, errors: make(map[string]int64),
		texts: texts(rand.New(rand.NewPCG(seed, 1)), w.Bytes),
	}
	for i, c := range clients {
		count := n / len(clients)
		if i < n%len(clients) {
			count++
		}
		ln := &lane{c: c, acks: NewHistogram(), reads: NewHistogram(), slots: make([]slot, count)}
		for k := range ln.slots {
			s := &ln.slots[k]
			s.l, s.lane = l, ln
			s.rnd = rand.New(rand.NewPCG(seed, uint64(i)<<32|uint64(k)+2))
			if w.Zipf > 1 {
				s.zipf = rand.NewZipf(s.rnd, w.Zipf, 1, uint64(len(convs)-1))
			}
			s.onAck = func(_ chat.Ack, err error) { s.finish(s.lane.acks, err) }
			s.onPage = func(p client.Page, err error) {
				if err == nil && len(p.Entries) < w.PageLimit {
					err = errShortPage
				}
				s.finish(s.lane.reads, err)
			}
		}
		l.conns = append(l.conns, ln)
	}
	return l
}

// start fills every slot.
func (l *loop) start() {
	for _, ln := range l.conns {
		for k := range ln.slots {
			s := &ln.slots[k]
			l.busy.Add(1)
			s.next()
		}
	}
}

// next starts the slot's next operation.
func (s *slot) next() {
	w := &s.l.w
	conv := s.pick()
	s.start = time.Now()
	var err error
	if w.Reads > 0 && s.rnd.Float64() < w.Reads {
		err = s.lane.c.HistoryAsync(w.page(s.rnd, conv), s.onPage)
	} else {
		text := s.l.texts[s.rnd.IntN(len(s.l.texts))]
		err = s.lane.c.SendAsync(s.l.ctx, client.Message{Conv: conv, Text: text, NoWait: true}, s.onAck)
	}
	if err != nil {
		s.l.fault(err)
		s.l.busy.Done() // this connection is over
	}
}

func (s *slot) pick() chat.ConvID {
	if s.zipf != nil {
		return s.l.convs[s.zipf.Uint64()]
	}
	return s.l.convs[s.rnd.IntN(len(s.l.convs))]
}

// finish takes an answer and goes on unless the point is over.
func (s *slot) finish(h *Histogram, err error) {
	switch phase := s.l.phase.Load(); {
	case err != nil:
		s.l.fault(err)
	case phase == measuring:
		h.Record(time.Since(s.start))
		s.l.done.Add(1)
	}
	if s.l.phase.Load() == stopping || s.l.ctx.Err() != nil {
		s.l.busy.Done()
		return
	}
	s.next()
}

func (l *loop) fault(err error) {
	l.errorMu.Lock()
	l.errors[string(chat.CodeOf(err))]++
	l.errorMu.Unlock()
}

// watch waits for the window and samples the rate each second.
func (l *loop) watch(ctx context.Context, d time.Duration, tell func(Sample)) []Sample {
	var series []Sample
	begin, last := time.Now(), int64(0)
	at := begin
	for left := d; left > 0; left = d - time.Since(begin) {
		if !wait(ctx, min(left, time.Second)) {
			return series
		}
		now, n := time.Now(), l.done.Load()
		s := Sample{At: now.Sub(begin).Seconds(), Rate: float64(n-last) / now.Sub(at).Seconds()}
		at, last = now, n
		series = append(series, s)
		tell(s)
	}
	return series
}

// drainMax bounds the wait for the last answers of a point.
const drainMax = 30 * time.Second

// drained waits for what is still out, and no longer than that. done is closed when
// nothing is any more, which is when the clients are closed, at the latest.
func drained(ctx context.Context, out *sync.WaitGroup) (done <-chan struct{}) {
	none := make(chan struct{})
	go func() {
		out.Wait()
		close(none)
	}()
	timer := time.NewTimer(drainMax)
	defer timer.Stop()
	select {
	case <-none:
	case <-timer.C:
	case <-ctx.Done():
	}
	return none
}

// drain waits for the operations that are still out.
func (l *loop) drain(ctx context.Context) {
	done := drained(ctx, &l.busy)
	for _, ln := range l.conns {
		_ = ln.c.Close() // answers what is left, so that nothing runs after this
	}
	<-done
}

// report fills in what the loop saw.
func (l *loop) report(res *Result, window time.Duration) {
	acks, reads := NewHistogram(), NewHistogram()
	for _, ln := range l.conns {
		acks.Merge(ln.acks)
		reads.Merge(ln.reads)
	}
	res.Seconds = window.Seconds()
	res.Count = acks.Count() + reads.Count()
	res.Rate = float64(res.Count) / window.Seconds()
	res.Latency["ack"] = acks.Latency()
	if reads.Count() > 0 {
		res.Latency["read"] = reads.Latency()
		res.Values["appends_per_second"] = float64(acks.Count()) / window.Seconds()
		res.Values["pages_per_second"] = float64(reads.Count()) / window.Seconds()
	}
	if len(l.errors) > 0 {
		res.Errors = l.errors
	}
	stats := client.Stats{}
	for _, ln := range l.conns {
		s := ln.c.Stats()
		stats.Resent += s.Resent
		stats.Refused += s.Refused
	}
	res.Values["resent"] = float64(stats.Resent)
	res.Values["refused"] = float64(stats.Refused)
}
