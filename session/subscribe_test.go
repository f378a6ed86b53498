package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/session/sessiontest"
	"github.com/chatnode/chatnode/wire"
)

// awaitSeqs waits until the entries of conv have come up to last, and checks
// that they are first..last, each once, in order.
func awaitSeqs(t *testing.T, d *sessiontest.Device, conv chat.ConvID, first, last chat.Seq) {
	t.Helper()
	d.Await(fmt.Sprintf("entry %d", last), func(got []wire.Reply) bool {
		seqs := sessiontest.Seqs(got, conv)
		return len(seqs) > 0 && seqs[len(seqs)-1] >= last
	})
	if diff := cmp.Diff(upTo(last, first), sessiontest.Seqs(d.Got(), conv)); diff != "" {
		t.Errorf("entries of %s (-want +got):\n%s", conv, diff)
	}
}

func TestSubscribe(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	for i := range uint64(4) {
		c.Say(t, "r", i, "before")
	}
	cfg, deps := config(), c.Deps()
	tests := []struct {
		name   string
		device string
		frame  string
		from   chat.Seq
		code   chat.Code
	}{
		{"from the start", "a", `{"type":"subscribe","ref":1,"conv":"r","from":1}`, 1, ""},
		{"from the middle", "b", `{"type":"subscribe","ref":1,"conv":"r","from":3}`, 3, ""},
		{"from the head", "c", `{"type":"subscribe","ref":1,"conv":"r","from":5}`, 5, ""},
		{"what comes next", "d", `{"type":"subscribe","ref":1,"conv":"r","from":6}`, 6, ""},
		{"without from", "e", `{"type":"subscribe","ref":1,"conv":"r"}`, 6, ""},
		{"from beyond", "f", `{"type":"subscribe","ref":1,"conv":"r","from":7}`, 0, chat.Behind},
		{"no such conversation", "g", `{"type":"subscribe","ref":1,"conv":"s","from":1}`, 0, chat.NotFound},
		{"from zero", "h", `{"type":"subscribe","ref":1,"conv":"r","from":0}`, 0, chat.Invalid},
	}
	var live []func()
	for _, tt := range tests {
		d := sessiontest.Login(t, cfg, deps, "bob", tt.device)
		d.Send(tt.frame)
		r := d.Answer(1)
		if r.Code != tt.code || r.From != tt.from || tt.code == "" && (r.Type != wire.Subscribed || r.Head != 5) {
			t.Errorf("%s: answer %+v, want from %d, code %q", tt.name, r, tt.from, tt.code)
		}
		if tt.code == "" {
			live = append(live, func() { awaitSeqs(t, d, "r", tt.from, 9) })
		}
	}
	stranger := sessiontest.Login(t, cfg, deps, "eve", "d")
	stranger.Send(`{"type":"subscribe","ref":1,"conv":"r","from":1}`)
	if r := stranger.Answer(1); r.Code != chat.NotFound {
		t.Errorf("a stranger got %+v, want not_found", r)
	}
	for i := range uint64(4) {
		c.Say(t, "r", 10+i, "live")
	}
	for _, check := range live {
		check()
	}
	if got := sessiontest.Seqs(stranger.Got(), "r"); len(got) != 0 {
		t.Errorf("a stranger saw %v", got)
	}
}

func TestUnsubscribeAndAgain(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	d.Send(`{"type":"subscribe","ref":1,"conv":"r"}`)
	d.Answer(1)
	c.Say(t, "r", 1, "seen")
	awaitSeqs(t, d, "r", 2, 2)
	d.Send(`{"type":"unsubscribe","ref":2,"conv":"r"}`)
	if r := d.Answer(2); r.Type != wire.Unsubscribed || r.Code != "" {
		t.Errorf("answer %+v", r)
	}
	if n := c.Hub.Len(); n != 0 {
		t.Errorf("%d conversations are open, want none", n)
	}
	c.Say(t, "r", 2, "missed")
	d.Send(`{"type":"subscribe","ref":3,"conv":"r","from":3}`)
	d.Answer(3)
	c.Say(t, "r", 3, "seen")
	awaitSeqs(t, d, "r", 2, 4)
	d.Send(`{"type":"subscribe","ref":4,"conv":"r","from":4}`) // moves the cursor back
	d.Answer(4)
	d.Await("entry 4 again", func(got []wire.Reply) bool {
		return slices.Equal(sessiontest.Seqs(got, "r"), []chat.Seq{2, 3, 4, 4})
	})
}

func TestSubscriptionLimit(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	c.Room(t, "s", "bob")
	cfg := config()
	cfg.SubscriptionsMax = 1
	d := sessiontest.Login(t, cfg, c.Deps(), "bob", "d")
	d.Send(`[{"type":"subscribe","ref":1,"conv":"r"},{"type":"subscribe","ref":2,"conv":"s"},{"type":"subscribe","ref":3,"conv":"r"}]`)
	if r := d.Answer(2); r.Code != chat.TooLarge {
		t.Errorf("the second got %+v, want too_large", r)
	}
	if r := d.Answer(3); r.Type != wire.Subscribed {
		t.Errorf("the first again got %+v, want subscribed", r)
	}
}

func TestManySubscriptionsAtOnce(t *testing.T) {
	c := sessiontest.New(t)
	const n = 300
	frame := ""
	for i := range n {
		conv := chat.ConvID(fmt.Sprint("r", i))
		c.Room(t, conv, "bob")
		frame += fmt.Sprintf(`,{"type":"subscribe","ref":%d,"conv":%q,"from":1}`, 1+i, conv)
	}
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	d.Send("[" + frame[1:] + "]")
	for i := range n {
		if r := d.Answer(uint64(1 + i)); r.Type != wire.Subscribed {
			t.Fatalf("subscription %d got %+v", i, r)
		}
		awaitSeqs(t, d, chat.ConvID(fmt.Sprint("r", i)), 1, 1)
	}
	d.Close()
	if open := c.Hub.Len(); open != 0 {
		t.Errorf("%d conversations are open after the end", open)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	cfg := config()
	cfg.RequestsMax, cfg.QueueBytesMax = 2, 1<<10
	d := sessiontest.Login(t, cfg, c.Deps(), "bob", "d")
	frame := ""
	for i := range 20 {
		frame += fmt.Sprintf(`,{"type":"info","ref":%d,"conv":"r"}`, 1+i)
	}
	d.Send("[" + frame[1:] + "]")
	for i := range 20 { // each is answered, one way or the other
		if r := d.Answer(uint64(1 + i)); r.Type != wire.Info && r.Code != chat.Busy {
			t.Errorf("request %d got %+v", i, r)
		}
	}
}

func TestRemovalIsExact(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob", "cas")
	cfg, deps := config(), c.Deps()
	live := sessiontest.Login(t, cfg, deps, "bob", "live")
	slow := sessiontest.Login(t, cfg, deps, "bob", "slow")
	stays := sessiontest.Login(t, cfg, deps, "cas", "d")
	for _, d := range []*sessiontest.Device{live, slow, stays} {
		d.Send(`{"type":"subscribe","ref":1,"conv":"r"}`)
		d.Answer(1)
	}
	slow.Stall(true)
	c.Say(t, "r", 1, "for all")                        // 2
	c.Members(t, "r", 2, chat.NoRole, "bob")           // 3
	c.Say(t, "r", 3, "not for bob")                    // 4
	c.Members(t, "r", 4, chat.Writer, "bob")           // 5
	last := c.Say(t, "r", 5, "for bob, who asks anew") // 6
	awaitSeqs(t, stays, "r", 2, last.Seq)
	for i := range uint64(300) { // push what bob may see out of the tail
		last = c.Say(t, "r", 100+i, "more")
	}
	awaitSeqs(t, stays, "r", 2, last.Seq)
	slow.Stall(false)
	for _, d := range []*sessiontest.Device{live, slow} {
		r := d.Find("the end of the subscription", func(r *wire.Reply) bool { return r.Type == wire.Unsubscribed })
		if r.Code != chat.NotFound {
			t.Errorf("ended with %q, want not_found", r.Code)
		}
		if diff := cmp.Diff(upTo(3, 2), sessiontest.Seqs(d.Got(), "r")); diff != "" {
			t.Errorf("bob saw (-want +got):\n%s", diff)
		}
		noHeadAbove(t, d, 3)
	}
	live.Send(`{"type":"subscribe","ref":2,"conv":"r","from":1}`)
	live.Answer(2)
	live.Await("the rest", func(got []wire.Reply) bool {
		seqs := sessiontest.Seqs(got, "r")
		return seqs[len(seqs)-1] == last.Seq
	})
	want := append(upTo(3, 2), upTo(last.Seq, 1)...) // the policy of r shows newcomers everything
	if diff := cmp.Diff(want, sessiontest.Seqs(live.Got(), "r")); diff != "" {
		t.Errorf("after being added again bob saw (-want +got):\n%s", diff)
	}
}

// noHeadAbove: not even that something was appended is told beyond the removal.
func noHeadAbove(t *testing.T, d *sessiontest.Device, most chat.Seq) {
	t.Helper()
	for _, r := range d.Got() {
		if r.Type == wire.Entries && r.Head > most {
			t.Errorf("a frame of entries up to %d says head %d, want at most %d", r.Entries[len(r.Entries)-1].Seq, r.Head, most)
		}
	}
}

// TestHeadEndsAtTheRemoval: the removal is in the tail and more behind it, but the
// frames before it are full without it.
func TestHeadEndsAtTheRemoval(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	cfg := config()
	cfg.FrameBytes = 1 << 10
	d := sessiontest.Login(t, cfg, c.Deps(), "bob", "d")
	d.Send(`{"type":"subscribe","ref":1,"conv":"r"}`)
	d.Answer(1)
	d.Stall(true)
	for i := range uint64(8) {
		c.Say(t, "r", i, strings.Repeat("x", 600))
	}
	gone := c.Members(t, "r", 20, chat.NoRole, "bob").Seq
	last := c.Say(t, "r", 21, "not for bob").Seq
	stays := sessiontest.Login(t, cfg, c.Deps(), "ann", "d")
	stays.Send(fmt.Sprintf(`{"type":"subscribe","ref":1,"conv":"r","from":%d}`, last))
	awaitSeqs(t, stays, "r", last, last)
	d.Stall(false)
	awaitSeqs(t, d, "r", 2, gone)
	noHeadAbove(t, d, gone)
}

func TestNewcomerSeesFromJoining(t *testing.T) {
	c := sessiontest.New(t)
	c.Must(t, fsm.Create{Conv: "r", Kind: chat.Group, Policy: chat.FromJoin, Creator: "ann", Device: "d", ClientID: sessiontest.ID(1 << 40)})
	c.Say(t, "r", 1, "before")
	c.Members(t, "r", 2, chat.Writer, "bob") // 3
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	d.Send(`{"type":"subscribe","ref":1,"conv":"r","from":1}`)
	d.Answer(1)
	c.Say(t, "r", 3, "after")
	awaitSeqs(t, d, "r", 3, 4)
}

func TestSlowReaderCatchesUpFromTheLog(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	cfg := config()
	d := sessiontest.Login(t, cfg, c.Deps(), "bob", "d")
	d.Send(`{"type":"subscribe","ref":1,"conv":"r"}`)
	d.Answer(1)
	d.Stall(true)
	text := strings.Repeat("x", 2000)
	var last chat.Ack
	for i := range uint64(1500) { // 3 MB, a multiple of tail and queue
		last = c.Say(t, "r", i, text)
	}
	if n := d.S.Waiting(); n > cfg.QueueBytesMax {
		t.Errorf("%d bytes wait in the queue, want at most %d", n, cfg.QueueBytesMax)
	}
	d.Stall(false)
	awaitSeqs(t, d, "r", 2, last.Seq)
	if c.Reads() < 2 {
		t.Error("nothing was read from the log")
	}
}

func TestCatchUpGoesOnWhenReadsFail(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	d.Send(`{"type":"subscribe","ref":1,"conv":"r"}`)
	d.Answer(1)
	d.Stall(true)
	var last chat.Ack
	for i := range uint64(600) {
		last = c.Say(t, "r", i, "text")
	}
	c.FailReads(chat.E("history", chat.Unavailable, "", errors.New("no quorum")))
	d.Stall(false)
	d.Send(`{"type":"history","ref":2,"conv":"r"}`)
	if r := d.Answer(2); r.Code != chat.Unavailable {
		t.Errorf("history got %+v, want unavailable", r)
	}
	c.FailReads(nil)
	awaitSeqs(t, d, "r", 2, last.Seq)
}

func TestClientThatDoesNotReadIsNotReadFrom(t *testing.T) {
	c := sessiontest.New(t)
	cfg := config()
	cfg.QueueBytesMax = 1 << 10
	d := sessiontest.Login(t, cfg, c.Deps(), "bob", "d")
	d.Stall(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 1000 {
			d.Send(fmt.Sprintf(`{"type":"ping","ref":%d}`, 1+i))
		}
	})
	d.Stall(false)
	wg.Wait()
	d.Answer(1000)
	if n := d.S.Waiting(); n > cfg.QueueBytesMax+256 {
		t.Errorf("%d bytes wait", n)
	}
}

// TestSubscribeDuringLoad subscribes from random places while messages come,
// devices stall, leaders change and events are lost, and wants what S1 says.
func TestSubscribeDuringLoad(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { subscribeDuringLoad(t, seed) })
	}
}

func subscribeDuringLoad(t *testing.T, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := sessiontest.New(t)
	convs := []chat.ConvID{"r0", "r1", "r2"}
	for _, conv := range convs {
		c.Room(t, conv, "bob")
	}
	cfg, deps := config(), c.Deps()
	cfg.CatchUpBytes, cfg.FrameBytes, cfg.QueueBytesMax = 2<<10, 1<<10, 8<<10
	heads := map[chat.ConvID]chat.Seq{"r0": 1, "r1": 1, "r2": 1}
	type view struct {
		d    *sessiontest.Device
		conv chat.ConvID
		from chat.Seq
	}
	var views []view
	for i := range 900 {
		conv := convs[rnd.IntN(len(convs))]
		heads[conv] = c.Say(t, conv, uint64(i), strings.Repeat("x", 1+rnd.IntN(200))).Seq
		switch {
		case i%30 == 0:
			d := sessiontest.Login(t, cfg, deps, "bob", fmt.Sprint("d", i))
			v := view{d: d, conv: conv, from: 1 + chat.Seq(rnd.Uint64N(uint64(heads[conv])+1))}
			d.Send(fmt.Sprintf(`{"type":"subscribe","ref":1,"conv":%q,"from":%d}`, conv, v.from))
			views = append(views, v)
		case i%17 == 0 && len(views) > 0:
			views[rnd.IntN(len(views))].d.Stall(rnd.IntN(2) == 0)
		case i%113 == 0:
			c.Lead("n2")
			heads[conv] = c.Say(t, conv, uint64(10_000+i), "lost on the way").Seq
			c.Lead("n1")
		}
	}
	for _, v := range views {
		v.d.Stall(false)
	}
	for _, v := range views {
		if v.from > heads[v.conv] {
			continue
		}
		awaitSeqs(t, v.d, v.conv, v.from, heads[v.conv])
	}
}
