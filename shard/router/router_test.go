package router

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/wire"
)

func TestAnyNodeTakesAnyProposal(t *testing.T) {
	c := newCluster(t, DefaultConfig(), Metrics{})
	for i, id := range []shard.NodeID{"a", "b", "c"} {
		o := await(t, send(c.nodes[id].r, "room", command("room", i), time.Minute))
		if o.err != nil || o.res.Code != chat.OK || o.res.Ack.Seq != 1 {
			t.Errorf("from %s: %+v", id, o)
		}
	}
	if got := len(c.entries()); got != 3 {
		t.Errorf("log has %d entries, want 3", got)
	}
}

func TestWaitsForALeader(t *testing.T) {
	c := newCluster(t, DefaultConfig(), Metrics{})
	c.lead("")
	var all []<-chan outcome
	for i := range 50 {
		all = append(all, send(c.nodes["b"].r, "room", command("room", i), time.Minute))
	}
	c.lead("c")
	for _, ch := range all {
		if o := await(t, ch); o.err != nil {
			t.Fatal(o.err)
		}
	}
	log := c.entries()
	for i := range log {
		if log[i] != string(command("room", i)) {
			t.Fatalf("entry %d is out of order", i)
		}
	}
}

func TestDeadline(t *testing.T) {
	tests := []struct {
		name  string
		set   func(c *cluster)
		maybe bool
	}{
		{"nobody leads", func(c *cluster) { c.lead("") }, false},
		{"the leader is down", func(c *cluster) { c.set(c.down, "a", true) }, false},
		{"the leader is silent", func(c *cluster) { c.set(c.silent, "a", true) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, DefaultConfig(), Metrics{})
			tt.set(c)
			o := await(t, send(c.nodes["b"].r, "room", command("room", 1), 50*time.Millisecond))
			if chat.CodeOf(o.err) != chat.Unavailable {
				t.Fatalf("err = %v, want unavailable", o.err)
			}
			if maybe := strings.Contains(o.err.Error(), "may have been"); maybe != tt.maybe {
				t.Errorf("err = %v, names an ambiguous outcome: %v, want %v", o.err, maybe, tt.maybe)
			}
			if n, b := c.nodes["b"].r.InFlight(); n != 0 || b != 0 {
				t.Errorf("in flight after the answer: %d, %d bytes", n, b)
			}
		})
	}
}

// TestSilentLeader has a leader that takes proposals and then stands still, as
// a stopped process does. As soon as the others have a new one, what it holds is
// sent there.
func TestSilentLeader(t *testing.T) {
	c := newCluster(t, DefaultConfig(), Metrics{})
	c.set(c.silent, "a", true)
	var all []<-chan outcome
	for i := range 20 {
		all = append(all, send(c.nodes["b"].r, "room", command("room", i), time.Minute))
	}
	c.lead("c")
	for _, ch := range all {
		if o := await(t, ch); o.err != nil {
			t.Fatal(o.err)
		}
	}
	log := c.entries()
	if len(log) != 20 {
		t.Fatalf("log has %d entries, want 20", len(log))
	}
	for i := range log {
		if log[i] != string(command("room", i)) {
			t.Fatalf("entry %d is out of order", i)
		}
	}
}

func TestRefusalsAreNotRetried(t *testing.T) {
	for _, code := range []chat.Code{chat.DiskFull, chat.Busy, chat.Invalid, chat.Corrupt} {
		c := newCluster(t, DefaultConfig(), Metrics{})
		var asked atomic.Int64
		c.fault = func(shard.NodeID) error {
			asked.Add(1)
			return chat.E("propose", code, "", nil)
		}
		if o := await(t, send(c.nodes["a"].r, "room", command("room", 1), time.Minute)); chat.CodeOf(o.err) != code {
			t.Errorf("err = %v, want %s", o.err, code)
		}
		if n := asked.Load(); n > 2 { // the fault is asked twice for each attempt
			t.Errorf("%s was tried %d times", code, n)
		}
	}
}

// TestBusyReadIsNotRetried: the caller is told when to come back, also through
// another node.
func TestBusyReadIsNotRetried(t *testing.T) {
	for _, id := range []shard.NodeID{"a", "b"} {
		c := newCluster(t, DefaultConfig(), Metrics{})
		var asked atomic.Int64
		c.fault = func(shard.NodeID) error {
			asked.Add(1)
			e := chat.E("read", chat.Busy, "", nil)
			e.RetryAfter = time.Second
			return e
		}
		_, err := c.nodes[id].r.Read(t.Context(), &Request{Kind: ReadHead, Conv: "room", Level: wire.Linearizable})
		e, ok := errors.AsType[*chat.Error](err)
		if !ok || e.Code != chat.Busy || e.RetryAfter != time.Second || asked.Load() != 1 {
			t.Errorf("from %s: %v after %d attempts, want busy with a time after one", id, err, asked.Load())
		}
	}
}

// TestAmbiguousThenRefused: after an attempt that may have been appended, a
// refusal may not be passed on as if nothing had been.
func TestAmbiguousThenRefused(t *testing.T) {
	c := newCluster(t, DefaultConfig(), Metrics{})
	var n atomic.Int64
	c.fault = func(shard.NodeID) error {
		if n.Add(1) <= 2 {
			return chat.E("propose", chat.Unavailable, "leadership lost", nil)
		}
		return chat.E("propose", chat.DiskFull, "", nil)
	}
	o := await(t, send(c.nodes["a"].r, "room", command("room", 1), 100*time.Millisecond))
	if chat.CodeOf(o.err) != chat.Unavailable || !strings.Contains(o.err.Error(), "may have been") {
		t.Errorf("err = %v, want an ambiguous unavailable", o.err)
	}
}

func TestBounds(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ProposalsMax = 4
	c := newCluster(t, cfg, Metrics{})
	c.lead("")
	r := c.nodes["a"].r
	var waiting []<-chan outcome
	for i := range 4 {
		waiting = append(waiting, send(r, "room", command("room", i), time.Minute))
	}
	var e *chat.Error
	if o := await(t, send(r, "room", command("room", 9), time.Minute)); !errors.As(o.err, &e) || e.Code != chat.Busy || e.RetryAfter <= 0 {
		t.Errorf("err = %v, want busy with retry_after", o.err)
	}
	c.lead("a")
	for _, ch := range waiting {
		if o := await(t, ch); o.err != nil {
			t.Error(o.err)
		}
	}
	if o := await(t, send(r, "room", make([]byte, fsm.CommandBytesMax+1), time.Minute)); chat.CodeOf(o.err) != chat.TooLarge {
		t.Errorf("err = %v, want too_large", o.err)
	}

	cfg = DefaultConfig()
	cfg.BytesMax = 10
	c = newCluster(t, cfg, Metrics{})
	if o := await(t, send(c.nodes["a"].r, "room", command("room", 1), time.Minute)); chat.CodeOf(o.err) != chat.Busy {
		t.Errorf("err = %v, want busy", o.err)
	}
	if n, b := c.nodes["a"].r.InFlight(); n != 0 || b != 0 {
		t.Errorf("in flight: %d, %d bytes, want none", n, b)
	}
}

func TestCloseAnswersEverything(t *testing.T) {
	c := newCluster(t, DefaultConfig(), Metrics{})
	c.lead("")
	r := c.nodes["a"].r
	ch := send(r, "room", command("room", 1), time.Minute)
	r.Close()
	if o := await(t, ch); chat.CodeOf(o.err) != chat.ShuttingDn {
		t.Errorf("err = %v, want shutting_down", o.err)
	}
	if o := await(t, send(r, "room", command("room", 2), time.Minute)); chat.CodeOf(o.err) != chat.ShuttingDn {
		t.Errorf("err = %v, want shutting_down", o.err)
	}
}

// TestLeaderChangesUnderLoad moves the leadership about, lets leaders fall
// silent and go down, and asks of every proposal that it is answered exactly
// once and that what was acknowledged is in the log exactly once.
func TestLeaderChangesUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	c := newCluster(t, DefaultConfig(), Metrics{})
	ids := []shard.NodeID{"a", "b", "c"}
	const each = 300
	type answer struct{ count, acked atomic.Int64 }
	answers := make([]answer, 3*each)
	stop := make(chan struct{})
	mover := make(chan struct{})
	go func() {
		defer close(mover)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			id := ids[rng.IntN(3)]
			switch rng.IntN(4) {
			case 0:
				c.lead("")
			case 1:
				c.set(c.down, id, rng.IntN(2) == 0)
			case 2:
				c.set(c.silent, id, rng.IntN(3) == 0)
			default:
				c.lead(id)
			}
		}
	}()
	for i := range 3 * each {
		a := &answers[i]
		c.nodes[ids[i%3]].r.Propose("room", command("room", i), time.Now().Add(time.Minute), func(_ fsm.Result, err error) {
			a.count.Add(1)
			if err == nil {
				a.acked.Add(1)
			}
		})
		if i%30 == 0 {
			<-time.After(time.Millisecond)
		}
	}
	close(stop)
	<-mover
	for _, id := range ids {
		c.set(c.down, id, false)
		c.set(c.silent, id, false)
	}
	c.lead("b")
	// What a silent replica was given is never answered by it, as by a process
	// that hangs; Close ends it. Whoever comes now is served.
	for i, id := range ids {
		if o := await(t, send(c.nodes[id].r, "room", command("room", 3*each+i), time.Minute)); o.err != nil {
			t.Errorf("from %s, after all: %v", id, o.err)
		}
	}
	for _, id := range ids {
		c.nodes[id].r.Close()
	}
	log := c.entries()
	for i := range answers {
		in := slices.Contains(log, string(command("room", i)))
		if n := answers[i].count.Load(); n != 1 {
			t.Errorf("proposal %d was answered %d times", i, n)
		}
		if answers[i].acked.Load() == 1 && !in {
			t.Errorf("proposal %d was acknowledged and is not in the log", i)
		}
	}
}

func TestReadFollowsTheLeader(t *testing.T) {
	c := newCluster(t, DefaultConfig(), Metrics{})
	c.lead("")
	errs := make(chan error, 1)
	go func() {
		_, err := c.nodes["b"].r.Read(t.Context(), &Request{Kind: ReadHead, Conv: "room"})
		errs <- err
	}()
	c.lead("c")
	select {
	case err := <-errs: // the view is empty: what the leader says is not_found
		if chat.CodeOf(err) != chat.NotFound {
			t.Errorf("err = %v, want not_found", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("no answer")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	c.lead("")
	if _, err := c.nodes["b"].r.Read(ctx, &Request{Kind: ReadHead, Conv: "room"}); chat.CodeOf(err) != chat.Timeout {
		t.Errorf("err = %v, want timeout", err)
	}
	_, err := c.nodes["b"].r.Read(t.Context(), &Request{Kind: ReadHead, Conv: "room", Level: wire.Stale, MinSeq: 7})
	if chat.CodeOf(err) != chat.Behind {
		t.Errorf("stale read with min_seq: %v, want behind", err)
	}
}

func TestServeChecksCommands(t *testing.T) {
	c := newCluster(t, DefaultConfig(), Metrics{})
	r := c.nodes["a"].r
	g, err := r.GroupOf("room")
	if err != nil {
		t.Fatal(err)
	}
	other := 3 - g
	tests := []struct {
		name string
		g    shard.GroupID
		cmd  []byte
		want chat.Code
	}{
		{"good", g, command("room", 1), chat.OK},
		{"of another group", other, command("room", 1), chat.NotLeader},
		{"not a command", g, []byte("GET / HTTP/1.1"), chat.Invalid},
		{"to the meta group", shard.Meta, command("room", 1), chat.UnknownType},
	}
	for _, tt := range tests {
		ch := make(chan outcome, 1)
		r.ServePropose(tt.g, tt.cmd, func(res fsm.Result, err error) { ch <- outcome{res, err} })
		if o := await(t, ch); chat.CodeOf(o.err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, o.err, tt.want)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	q := Request{Kind: ReadPage, Conv: "room", User: "u", Seq: 9, Limit: 50, Mode: 1, MinSeq: 3}
	f.Add(q.Append(nil))
	f.Add([]byte{1, 7, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := DecodeRequest(b)
		if err != nil {
			return
		}
		again, err := DecodeRequest(q.Append(nil))
		if err != nil || again != q {
			t.Errorf("%+v came back as %+v, %v", q, again, err)
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add(byte(ReadHead), []byte(`{"Seq":1}`))
	f.Add(byte(ReadPage), []byte{0})
	f.Add(byte(ReadMap), []byte{1, 2})
	f.Fuzz(func(_ *testing.T, k byte, b []byte) { _, _ = decodeAnswer(Kind(k), b) })
}

// BenchmarkProposeLocal is the cost of the router itself, with a leader here
// that answers at once.
func BenchmarkProposeLocal(b *testing.B) {
	for _, parallel := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", parallel), func(b *testing.B) {
			r, err := New(DefaultConfig(), Deps{Self: "a", Local: instant{}})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			m := shard.Map{Cluster: "t", Epoch: 1, Groups: []shard.Group{{}, {ID: 1}}}
			full, err := shard.New(m, shard.Spread(1))
			if err != nil {
				b.Fatal(err)
			}
			r.SetMap(full)
			cmd := command("room", 1)
			deadline := time.Now().Add(time.Hour)
			done := func(fsm.Result, error) {}
			b.ReportAllocs()
			b.SetParallelism(parallel)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r.Propose("room", cmd, deadline, done)
				}
			})
		})
	}
}

type instant struct{}

func (instant) Propose(_ shard.GroupID, _ []byte, done func(fsm.Result, error)) {
	done(fsm.Result{}, nil)
}
func (instant) ReadIndex(context.Context, shard.GroupID) error { return nil }
func (instant) View(shard.GroupID) (View, error)               { return emptyView{}, nil }
func (instant) Leader(shard.GroupID) (shard.NodeID, bool)      { return "a", true }
func (instant) IsLeader(shard.GroupID) bool                    { return true }
