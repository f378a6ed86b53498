package fanout_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 60 * time.Second

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s did not come", what)
		case <-tick.C:
		}
	}
}

// receiver notes what it is given; it can be held up.
type receiver struct {
	mu   sync.Mutex
	gate sync.Mutex
	got  []chat.Seq
	gaps int
	lost int
}

func (r *receiver) Deliver(e *chat.Entry) {
	r.gate.Lock()
	defer r.gate.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, e.Seq)
}

func (r *receiver) Gap(chat.ConvID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps++
}

func (r *receiver) Lost(chat.ConvID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost++
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func entry(conv chat.ConvID, seq chat.Seq) *chat.Entry {
	return &chat.Entry{Conv: conv, Seq: seq, Type: chat.Message, Sender: "ann", Body: chat.Body{Text: fmt.Sprint("text ", seq)}}
}

func TestBusDeliversToWhoIsAttached(t *testing.T) {
	leads := true
	b := fanout.NewBus(func(chat.ConvID) bool { return leads })
	defer b.Close()
	var one, two receiver
	attached := 0
	b.Appended(entry("r", 1), nil) // before anybody is attached
	b.Attach("r", &one, func() { attached++ })
	b.Attach("r", &one, func() { attached++ }) // again: still once
	b.Attach("r", &two, nil)
	b.Attach("s", &two, nil)
	b.Appended(entry("r", 2), nil)
	b.Appended(entry("s", 7), nil)
	eventually(t, "delivery", func() bool { return one.count() == 1 && two.count() == 2 })
	b.Detach("r", &two)
	b.Appended(entry("r", 3), nil)
	eventually(t, "delivery", func() bool { return one.count() == 2 })
	if attached != 2 || two.count() != 2 {
		t.Errorf("attached %d times, the detached one got %v", attached, two.got)
	}
	leads = false
	b.Resign()
	if one.lost != 1 || two.lost != 1 {
		t.Errorf("lost %d and %d attachments, want one each", one.lost, two.lost)
	}
	b.Attach("r", &one, func() { t.Error("attached where nobody leads") })
	if one.lost != 2 {
		t.Error("an attachment to a node that does not lead was kept")
	}
}

// TestBusListensToWhatIsAttached: also while attachments come twice, go twice
// and end with the leadership.
func TestBusListensToWhatIsAttached(t *testing.T) {
	led := map[chat.ConvID]bool{"r": true, "s": true}
	b := fanout.NewBus(func(c chat.ConvID) bool { return led[c] })
	defer b.Close()
	var one, two receiver
	check := func(when string, r, s bool) {
		t.Helper()
		if gotR, gotS := b.Listens("r"), b.Listens("s"); gotR != r || gotS != s {
			t.Errorf("%s: listens to r %v, to s %v; want %v, %v", when, gotR, gotS, r, s)
		}
	}
	check("at first", false, false)
	b.Detach("r", &one)
	b.Attach("r", &one, nil)
	b.Attach("r", &one, nil)
	b.Attach("r", &two, nil)
	check("r attached", true, false)
	b.Detach("r", &one)
	b.Detach("r", &one)
	check("one of two left", true, false)
	b.Attach("s", &one, nil)
	b.Detach("r", &two)
	b.Detach("r", &two)
	check("only s attached", false, true)
	led["s"] = false
	b.Resign()
	check("s is led elsewhere", false, false)
	b.Attach("s", &one, nil)
	check("attached where nobody leads", false, false)
	b.Attach("r", &two, nil)
	check("r attached again", true, false)
}

func TestBusNeverBlocksAndMarksWhatItDrops(t *testing.T) {
	b := fanout.NewBus(func(chat.ConvID) bool { return true })
	defer b.Close()
	var r receiver
	b.Attach("r", &r, nil)
	r.gate.Lock()
	const total = fanout.RingEntriesMax*2 + 10
	for seq := chat.Seq(1); seq <= total; seq++ {
		b.Appended(entry("r", seq), nil) // would hang here if it blocked
	}
	if b.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	r.gate.Unlock()
	eventually(t, "a gap", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.gaps > 0
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 1; i < len(r.got); i++ {
		if r.got[i] <= r.got[i-1] {
			t.Fatalf("%d came after %d", r.got[i], r.got[i-1])
		}
	}
}

// world is a log and leaders that a test moves by hand.
type world struct {
	mu      sync.Mutex
	entries []chat.Entry
	node    shard.NodeID
	fail    error
	reads   int
	changed func()
	buses   map[shard.NodeID]*fanout.Bus
}

func newWorld(t *testing.T) (*world, *fanout.Hub) {
	t.Helper()
	w := &world{node: "n1", buses: make(map[shard.NodeID]*fanout.Bus)}
	for _, n := range []shard.NodeID{"n1", "n2"} {
		b := fanout.NewBus(func(chat.ConvID) bool { return w.leader() == n })
		w.buses[n] = b
		t.Cleanup(b.Close)
	}
	cfg := fanout.DefaultConfig()
	cfg.RetryWait = time.Millisecond
	h := fanout.NewHub(context.WithoutCancel(t.Context()), cfg, fanout.Deps{
		Leaders: w, Feeds: func(n shard.NodeID) fanout.Feed { return w.buses[n] }, Log: w,
	})
	t.Cleanup(h.Close)
	return w, h
}

func (w *world) leader() shard.NodeID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.node
}

func (w *world) LeaderOf(chat.ConvID) (shard.NodeID, bool) {
	n := w.leader()
	return n, n != ""
}

func (w *world) Watch(fn func()) func() {
	w.changed = fn
	return func() {}
}

func (w *world) ReadAfter(_ context.Context, _ chat.ConvID, after chat.Seq, limit int) ([]chat.Entry, chat.Seq, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return nil, 0, w.fail
	}
	w.reads++
	head := chat.Seq(len(w.entries))
	if after >= head {
		return nil, head, nil
	}
	rest := w.entries[after:]
	return append([]chat.Entry(nil), rest[:min(limit, len(rest))]...), head, nil
}

// say appends an entry; told says whether the leader's bus hears of it.
func (w *world) say(told bool) chat.Seq {
	w.mu.Lock()
	e := entry("r", chat.Seq(len(w.entries)+1))
	w.entries = append(w.entries, *e)
	b := w.buses[w.node]
	w.mu.Unlock()
	if told && b != nil {
		b.Appended(e, nil)
	}
	return e.Seq
}

func (w *world) lead(n shard.NodeID) {
	w.mu.Lock()
	w.node = n
	w.mu.Unlock()
	for _, b := range w.buses {
		b.Resign()
	}
	w.changed()
}

func (w *world) readsFail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// seqs reads everything above after that the tail holds.
func seqs(t *testing.T, w *fanout.Watch, after chat.Seq) (got []chat.Seq, ok bool) {
	t.Helper()
	for {
		buf := wire.OpenEntries(nil, "r", w.Head())
		out, last, _, ok := w.Append(buf, after, 0, "bob", 1<<10)
		if !ok || last == after {
			return got, ok
		}
		var rep wire.Reply
		d := wire.NewDecoder(string(wire.CloseEntries(out)))
		d.Next()
		if err := d.Reply(&rep); err != nil {
			t.Fatal(err)
		}
		for _, e := range rep.Entries {
			got = append(got, e.Seq)
		}
		after = last
	}
}

func TestHubFollowsTheConversation(t *testing.T) {
	w, h := newWorld(t)
	for range 10 {
		w.say(true)
	}
	moves := make(chan struct{}, 1<<16)
	watch := h.Open("r", func() { moves <- struct{}{} })
	eventually(t, "the head", func() bool { return watch.Head() == 10 })
	if _, ok := seqs(t, watch, 3); ok {
		t.Error("the tail claims to hold what came before it was opened")
	}
	w.say(true)                                                    // heard
	w.say(false)                                                   // missed
	w.say(true)                                                    // shows the gap
	eventually(t, "13", func() bool { return watch.Head() == 13 }) // read
	w.say(false)                                                   // missed
	w.lead("n2")                                                   // found by the read after attaching
	eventually(t, "14", func() bool { return watch.Head() == 14 }) //
	w.say(true)                                                    // heard from the other node
	eventually(t, "15", func() bool { return watch.Head() == 15 }) //
	w.lead("")                                                     // nobody leads
	w.say(false)                                                   //
	w.readsFail(chat.E("read", chat.Unavailable, "", nil))         // and reads fail
	w.lead("n1")                                                   //
	w.readsFail(nil)                                               //
	eventually(t, "16", func() bool { return watch.Head() == 16 }) //
	if got, ok := seqs(t, watch, 10); !ok || cmp.Diff(upTo(11, 16), got) != "" {
		t.Errorf("the tail holds %v, %v, want 11 to 16", got, ok)
	}
	if len(moves) == 0 {
		t.Error("the watcher was not told")
	}
	watch.Close()
	watch.Close() // twice is once
	if n := h.Len(); n != 0 {
		t.Errorf("%d conversations are open", n)
	}
}

func upTo(from, to chat.Seq) (s []chat.Seq) {
	for ; from <= to; from++ {
		s = append(s, from)
	}
	return s
}

func TestTailIsBounded(t *testing.T) {
	w, h := newWorld(t)
	watch := h.Open("r", func() {})
	defer watch.Close()
	w.say(true)
	eventually(t, "the first", func() bool { return watch.Head() == 1 })
	for range 2 * fanout.TailEntriesMax {
		w.say(true)
	}
	last := chat.Seq(1 + 2*fanout.TailEntriesMax)
	eventually(t, "the last", func() bool { return watch.Head() == last })
	if _, ok := seqs(t, watch, last-fanout.TailEntriesMax-1); ok {
		t.Error("the tail holds more than it may")
	}
	if got, ok := seqs(t, watch, last-10); !ok || len(got) != 10 {
		t.Errorf("the end of the tail is %v, %v", got, ok)
	}
}

func TestTailStopsAtARemoval(t *testing.T) {
	w, h := newWorld(t)
	watch := h.Open("r", func() {})
	defer watch.Close()
	w.say(true)
	eventually(t, "the first", func() bool { return watch.Head() == 1 })
	e := &chat.Entry{Conv: "r", Seq: 2, Type: chat.MemberRemoved, Body: chat.Body{Changes: []chat.Change{{User: "bob"}}}}
	w.mu.Lock()
	w.entries = append(w.entries, *e)
	w.mu.Unlock()
	w.buses["n1"].Appended(e, nil)
	w.say(true)
	eventually(t, "the third", func() bool { return watch.Head() == 3 })
	for user, want := range map[chat.UserID]chat.Seq{"bob": 2, "cas": 3} {
		_, last, cut, ok := watch.Append(nil, 1, 1, user, 1<<20)
		if last != want || cut != (user == "bob") || !ok {
			t.Errorf("%s is handed up to %d (cut %v), want %d", user, last, cut, want)
		}
	}
	for user, want := range map[chat.UserID]chat.Seq{"ann": 3, "bob": 2} {
		if got := watch.HeadFor(1, 1, user); got != want {
			t.Errorf("the head for %s is %d, want %d", user, got, want)
		}
	}
	if got := watch.HeadFor(1, 2, "bob"); got != 3 {
		t.Errorf("the head behind a removal that is history is %d, want 3", got)
	}
	if _, last, cut, _ := watch.Append(nil, 1, 2, "bob", 1<<20); last != 3 || cut {
		t.Errorf("a removal that is history cut at %d", last)
	}
}

// TestHubUnderLoad opens and closes watches while entries come, leaders move
// and events are lost, and wants every watch to reach the head.
func TestHubUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	w, h := newWorld(t)
	var watches []*fanout.Watch
	for range 2000 {
		switch n := rnd.IntN(100); {
		case n < 5:
			watches = append(watches, h.Open("r", func() {}))
		case n < 8 && len(watches) > 0:
			i := rnd.IntN(len(watches))
			watches[i].Close()
			watches = append(watches[:i], watches[i+1:]...)
		case n < 10:
			w.lead([]shard.NodeID{"n1", "n2", ""}[rnd.IntN(3)])
		default:
			w.say(rnd.IntN(20) > 0)
		}
	}
	w.lead("n1")
	last := w.say(true)
	for i, watch := range watches {
		eventually(t, fmt.Sprintf("the head of watch %d", i), func() bool { return watch.Head() == last })
		watch.Close()
	}
	eventually(t, "the end", func() bool { return h.Len() == 0 })
}

func BenchmarkAppendTail(b *testing.B) {
	bus := fanout.NewBus(func(chat.ConvID) bool { return true })
	defer bus.Close()
	var r receiver
	bus.Attach("r", &r, nil)
	text := strings.Repeat("x", 256)
	b.ReportAllocs()
	for i := range b.N {
		e := entry("r", chat.Seq(i+1))
		e.Body.Text = text
		bus.Appended(e, nil)
	}
}
