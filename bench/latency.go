package bench

import (
	"context"
	"errors"
	"fmt"
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

// LatencyLoad is an open loop: messages are sent at scheduled times, whatever the
// answers do, and every message is also awaited by a subscriber on another
// node.
type LatencyLoad struct {
	Rates         []float64 // messages per second
	Shares        []float64 // or shares of Max
	Max           float64   // messages per second; 0 to measure it first
	Connections   int       // that send; 0 for two per node, or more where few conversations need them
	Conversations int
	Bytes         int
	Warmup        time.Duration
	Duration      time.Duration
}

// DefaultLatency is the load of the figures that the project states.
func DefaultLatency() LatencyLoad {
	return LatencyLoad{
		Shares: []float64{0.25, 0.5, 0.8}, Conversations: 200, Bytes: 256,
		Warmup: 2 * time.Second, Duration: 10 * time.Second,
	}
}

// stampBytes is the least size of a message: it begins with its number.
const stampBytes = 20

// Validate reports every fault at once.
func (w LatencyLoad) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(w.Rates) == 0 && len(w.Shares) == 0 {
		fault("rate: give a rate or a share")
	}
	for _, v := range w.Rates {
		if !(v > 0 && v <= 1e6) { // no number is neither
			fault("rate: %g is not within 0 and 1000000", v)
		}
	}
	for _, v := range w.Shares {
		if !(v > 0 && v <= 1) {
			fault("share: %g is not within 0 and 1", v)
		}
	}
	if !(w.Max >= 0 && w.Max <= 1e9) {
		fault("max: %g is not within 0 and 1e9", w.Max)
	}
	if w.Connections < 0 {
		fault("connections: %d is below 0", w.Connections)
	}
	if w.Conversations < 1 || w.Conversations > 1000 {
		fault("conversations: %d is not within 1 and 1000", w.Conversations)
	}
	if w.Bytes < stampBytes || w.Bytes > chat.TextRunesMax {
		fault("payload: %d bytes is not within %d and %d", w.Bytes, stampBytes, chat.TextRunesMax)
	}
	if w.Duration <= 0 || w.Warmup < 0 {
		fault("duration: %v and warm-up %v must be positive", w.Duration, w.Warmup)
	}
	return errors.Join(errs...)
}

// Run measures one point per rate.
func (w LatencyLoad) Run(ctx context.Context, r *Run) error {
	if err := w.Validate(); err != nil {
		return err
	}
	if w.Connections == 1 && len(r.Target.Nodes) > 1 {
		return errors.New("connections: with 1 the subscriber would be on the node that is sent to; give 2 or more")
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
	most := w.Max
	if len(w.Shares) > 0 && most == 0 {
		t := DefaultThroughput()
		t.Conversations, t.Bytes = w.Conversations, w.Bytes
		res, err := t.Point(ctx, r, convs, 1024)
		if err != nil {
			return err
		}
		most = res.Rate
		r.say("maximum: %.0f/s", most)
	}
	for _, rate := range w.Rates {
		if err := w.point(ctx, r, convs, rate, 0, fmt.Sprintf("%.0f/s", rate)); err != nil {
			return err
		}
	}
	for _, share := range w.Shares {
		if err := w.point(ctx, r, convs, share*most, share, fmt.Sprintf("%.0f %% of maximum", 100*share)); err != nil {
			return err
		}
	}
	return nil
}

// connections says how many send: a node takes a number of messages in flight
// from one device to one conversation, and few conversations need more devices.
func (w LatencyLoad) connections(nodes int) int {
	if w.Connections > 0 {
		return w.Connections
	}
	const perConv = latencyInFlight / chat.UnackedPerConvMax
	return max(2*nodes, (perConv+w.Conversations-1)/w.Conversations)
}

// latencyInFlight is how many messages the connections can have in flight.
const latencyInFlight = 1024

// flight is the load of one rate.
type flight struct {
	w       LatencyLoad
	convs   []chat.ConvID
	nodes   int
	senders []*client.Client
	readers []*client.Client
	filler  string
	begin   time.Time     // of the schedule
	from    time.Duration // of the window, on the schedule
	to      time.Duration
	acks    []*Histogram // by sender
	ends    []*Histogram // by reader
	out     sync.WaitGroup
	arrived atomic.Int64 // deliveries of the window
	mu      sync.Mutex   // guards errors
	errors  map[string]int64
}

func (w LatencyLoad) point(ctx context.Context, r *Run, convs []chat.ConvID, rate, share float64, label string) error {
	f, err := w.open(ctx, r, convs)
	if err != nil {
		return err
	}
	r.say("%s: %v warm-up, %v window", label, w.Warmup, w.Duration)
	elections := r.elections(ctx)
	before := make(chan target.Usage, 1)
	f.begin = time.Now()
	sent := f.send(ctx, rate, r.Seed, func() {
		go func() { before <- r.Target.Usage() }() // the schedule does not wait for it
	})
	drained(ctx, &f.out)
	// Until the last answer, not to the end of the schedule: a cluster that falls
	// behind would else have the rate that was asked of it.
	took := max(w.Duration, time.Since(f.begin)-f.from)
	var used target.Usage
	if sent > 0 {
		used = r.Target.Usage().Sub(<-before)
	}
	f.settle(ctx, sent)
	res := r.result(ctx, "latency", label, map[string]any{
		"rate": rate, "share": share, "connections": len(f.senders), "conversations": len(convs), "payload_bytes": w.Bytes,
	})
	acks, ends := NewHistogram(), NewHistogram()
	closeAll(f.senders)
	closeAll(f.readers)
	for i := range f.acks {
		acks.Merge(f.acks[i])
	}
	for i := range f.ends {
		ends.Merge(f.ends[i])
	}
	res.Seconds = took.Seconds()
	res.Count = acks.Count()
	res.Rate = float64(acks.Count()) / res.Seconds
	res.Latency["ack"], res.Latency["end_to_end"] = acks.Latency(), ends.Latency()
	res.Values["scheduled"] = float64(sent)
	res.Errors = f.errors
	res.use(used)
	elections(&res)
	r.say("%s: ack p50 %.2f p99 %.2f ms, to a subscriber p50 %.2f p99 %.2f ms", label,
		res.Latency["ack"].P50, res.Latency["ack"].P99, res.Latency["end_to_end"].P50, res.Latency["end_to_end"].P99)
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.Sink.Add(res)
}

// open connects senders and, on other nodes, readers of every conversation.
func (w LatencyLoad) open(ctx context.Context, r *Run, convs []chat.ConvID) (*flight, error) {
	n := w.connections(len(r.Target.Nodes))
	f := &flight{
		w: w, convs: convs, nodes: len(r.Target.Nodes), filler: texts(rand.New(rand.NewPCG(r.Seed, 3)), w.Bytes)[0],
		from: w.Warmup, to: w.Warmup + w.Duration, errors: make(map[string]int64),
	}
	var err error
	big := func(_ int, cfg *client.Config) { cfg.InFlightMax = 1 << 16; cfg.InFlightBytesMax = 1 << 30 }
	if f.senders, err = r.dial(ctx, n, big); err != nil {
		return nil, err
	}
	if f.readers, err = r.dial(ctx, n, nil); err != nil {
		closeAll(f.senders)
		return nil, err
	}
	for range n {
		f.acks = append(f.acks, NewHistogram())
		f.ends = append(f.ends, NewHistogram())
	}
	var subs []*client.Subscription
	for i, conv := range convs {
		k := f.reader(i)
		s, err := f.readers[k].SubscribeFunc(conv, 0, func(entries []chat.Entry) { f.deliver(k, entries) })
		if err != nil {
			closeAll(f.senders)
			closeAll(f.readers)
			return nil, err
		}
		subs = append(subs, s)
	}
	for _, s := range subs {
		if err := s.Ready(ctx); err != nil {
			closeAll(f.senders)
			closeAll(f.readers)
			return nil, err
		}
	}
	return f, nil
}

// send follows the schedule and gives the number of messages of the window, whose
// begin it tells.
func (f *flight) send(ctx context.Context, rate float64, seed uint64, opens func()) (sent int64) {
	rnd := rand.New(rand.NewPCG(seed, 4))
	for i := 0; ; i++ {
		due := time.Duration(float64(i) / rate * float64(time.Second))
		if due >= f.to {
			return sent
		}
		if late := time.Since(f.begin) - due; late < -50*time.Microsecond && !wait(ctx, -late) || ctx.Err() != nil {
			return sent
		}
		k := rnd.IntN(len(f.convs))
		if due >= f.from {
			if sent == 0 {
				opens()
			}
			sent++
		}
		f.one(ctx, f.sender(rnd, k), k, due)
	}
}

// sender is a connection for a message to conversation k: its own, or, with fewer
// conversations than connections, any. It is on another node than the reader,
// where there is one.
func (f *flight) sender(rnd *rand.Rand, k int) int {
	n := len(f.senders)
	i := k % n
	if n < 2 || f.nodes < 2 {
		return i
	}
	if len(f.convs) < n {
		i = rnd.IntN(n)
	}
	for i%f.nodes == f.reader(k)%f.nodes { // connections 0 and 1 are on different nodes
		i = rnd.IntN(n)
	}
	return i
}

// reader is the connection that awaits the messages of conversation k.
func (f *flight) reader(k int) int { return (k + 1) % len(f.readers) }

// one sends a message to conversation k whose text begins with its scheduled time.
func (f *flight) one(ctx context.Context, sender, k int, due time.Duration) {
	var text strings.Builder
	text.Grow(f.w.Bytes)
	stamp := strconv.FormatInt(int64(due), 10)
	text.WriteString(stamp)
	text.WriteByte('|')
	text.WriteString(f.filler[text.Len():])
	h := f.acks[sender]
	f.out.Add(1)
	err := f.senders[sender].SendAsync(ctx, client.Message{Conv: f.convs[k], Text: text.String()}, func(_ chat.Ack, err error) {
		defer f.out.Done()
		if err != nil {
			f.fault(err)
		} else if due >= f.from {
			h.Record(time.Since(f.begin) - due)
		}
	})
	if err != nil {
		f.fault(err)
		f.out.Done()
	}
}

func (f *flight) fault(err error) {
	f.mu.Lock()
	f.errors[string(chat.CodeOf(err))]++
	f.mu.Unlock()
}

// deliver takes entries at reader k.
func (f *flight) deliver(k int, entries []chat.Entry) {
	for i := range entries {
		stamp, _, ok := strings.Cut(entries[i].Body.Text, "|")
		if !ok {
			continue
		}
		due, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil || time.Duration(due) < f.from {
			continue
		}
		f.ends[k].Record(time.Since(f.begin) - time.Duration(due))
		f.arrived.Add(1)
	}
}

// settle waits for the last deliveries.
func (f *flight) settle(ctx context.Context, sent int64) {
	deadline := time.Now().Add(drainMax)
	for time.Now().Before(deadline) {
		f.mu.Lock()
		failed := int64(0)
		for _, n := range f.errors {
			failed += n
		}
		f.mu.Unlock()
		if f.arrived.Load()+failed >= sent || !wait(ctx, 10*time.Millisecond) {
			return
		}
	}
}
