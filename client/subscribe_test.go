package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/wire"
)

// expect reads n entries that start with the seq from and have no gap.
func expect(t *testing.T, s *client.Subscription, from, n int) {
	t.Helper()
	for i := range n {
		e, err := s.Next(within(t))
		if err != nil {
			t.Fatalf("entry %d: %v", from+i, err)
		}
		if e.Seq != chat.Seq(from+i) {
			t.Fatalf("got entry %d, want %d", e.Seq, from+i)
		}
	}
}

func TestSubscribe(t *testing.T) {
	_, urls := newCluster(t, 2)
	c := dial(t, urls[:1], config())
	reader := dial(t, urls[1:], config())
	sendMany(t, c, "c", 5)
	all, err := reader.Subscribe("c", 1)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, all, 1, 5)
	if _, err := reader.Subscribe("c", 1); chat.CodeOf(err) != chat.Exists {
		t.Errorf("a second subscription gives %v, want exists", err)
	}
	late, err := c.Subscribe("c", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	sendMany(t, c, "c", 3)
	expect(t, all, 6, 3)
	expect(t, late, 6, 3)
	late.Close()
	if _, err := late.Next(within(t)); chat.CodeOf(err) != chat.Canceled {
		t.Errorf("Next after Close gives %v, want canceled", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range all.All(ctx) {
		if chat.CodeOf(err) != chat.Canceled {
			t.Errorf("All under an ended context gives %v", err)
		}
	}
}

// A node that leaves an entry out is asked again from there.
func TestSubscribeFindsGap(t *testing.T) {
	cl, urls := newCluster(t, 1)
	c := dial(t, urls, config())
	s, err := c.Subscribe("c", 1)
	if err != nil {
		t.Fatal(err)
	}
	sendMany(t, c, "c", 2)
	expect(t, s, 1, 2)
	cl.mu.Lock()
	for p := range cl.peers {
		p.skip = 4
	}
	cl.mu.Unlock()
	sendMany(t, c, "c", 5)
	expect(t, s, 3, 5)
	if got := c.Stats(); got.Gaps != 1 {
		t.Errorf("gaps seen: %d, want 1", got.Gaps)
	}
}

// What is before the first readable entry is no gap, and is not asked for twice.
func TestSubscribeStartsLater(t *testing.T) {
	cl, urls := newCluster(t, 1)
	c := dial(t, urls, config())
	sendMany(t, c, "c", 3)
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type != wire.Subscribe {
			return false
		}
		p.reply(&wire.Reply{Type: wire.Subscribed, Ref: req.Ref, Conv: "c", Head: 3, From: 1})
		p.subs["c"] = 3
		return true
	})
	s, err := c.Subscribe("c", 1)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, s, 3, 1)
	if got := c.Stats().Gaps; got != 0 {
		t.Errorf("gaps seen: %d, want none", got)
	}
}

// A reader that is slower than its queue loses nothing, nor do others wait.
func TestSubscribeSlowReader(t *testing.T) {
	_, urls := newCluster(t, 1)
	cfg := config()
	cfg.SubscriptionQueue = 8
	c := dial(t, urls, cfg)
	s, err := c.Subscribe("c", 1)
	if err != nil {
		t.Fatal(err)
	}
	sendMany(t, c, "c", 400) // all acknowledged while nothing was read
	expect(t, s, 1, 400)
	if got := c.Stats().Resubs; got == 0 {
		t.Error("the queue of 8 was never full")
	}
}

func TestSubscribeRemovedAndBack(t *testing.T) {
	cl, urls := newCluster(t, 1)
	c := dial(t, urls, config())
	sendMany(t, c, "c", 2)
	s, err := c.Subscribe("c", 1)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, s, 1, 2)
	cl.mu.Lock()
	for p := range cl.peers {
		delete(p.subs, "c")
		p.reply(&wire.Reply{Type: wire.Unsubscribed, Conv: "c", Code: chat.NotFound})
		p.flush()
	}
	cl.mu.Unlock()
	if _, err := s.Next(within(t)); chat.CodeOf(err) != chat.NotFound {
		t.Fatalf("after the removal Next gives %v, want not_found", err)
	}
	if chat.CodeOf(s.Err()) != chat.NotFound {
		t.Errorf("Err = %v", s.Err())
	}
	again, err := c.Subscribe("c", 1)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, again, 1, 2)
}

func TestSubscribeRefused(t *testing.T) {
	_, urls := newCluster(t, 1)
	c := dial(t, urls, config())
	if _, err := c.Subscribe("a b", 1); chat.CodeOf(err) != chat.Invalid {
		t.Errorf("a bad id gives %v", err)
	}
	s, err := c.Subscribe("c", 50)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(within(t)); chat.CodeOf(err) != chat.Behind {
		t.Errorf("a start beyond the head gives %v, want behind", err)
	}
}

// Connections break at random while entries are appended and delivered, to a
// handler and to a reader: both see everything once and in order.
func TestSubscribeSurvivesBreaks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	cl, urls := newCluster(t, 3)
	const n = 600
	writer := dial(t, urls[:1], config())
	cfg := config()
	cfg.SubscriptionQueue = 16
	reader, handled := dial(t, urls[1:], cfg), dial(t, urls[1:], cfg)
	s, err := reader.Subscribe("c", 1)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	next, faults := chat.Seq(1), 0
	done := make(chan struct{})
	if _, err := handled.SubscribeFunc("c", 1, func(entries []chat.Entry) {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range entries {
			if e.Seq != next {
				faults++
			}
			if next++; next == n+1 {
				close(done)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range n {
			if _, err := writer.Send(t.Context(), client.Message{Conv: "c", Text: fmt.Sprint(i)}); err != nil {
				t.Errorf("Send: %v", err)
				return
			}
			if i%40 == 0 {
				cl.cut(func(*peer) bool { return rnd.IntN(2) == 0 })
			}
		}
	}()
	expect(t, s, 1, n)
	<-done
	<-sent // the last ack may come after its entry
	mu.Lock()
	defer mu.Unlock()
	if faults > 0 {
		t.Errorf("the handler saw %d entries out of order", faults)
	}
	t.Logf("%+v", reader.Stats())
}

func TestRequests(t *testing.T) {
	cl, urls := newCluster(t, 2)
	c := dial(t, urls, config())
	made, err := c.Create(within(t), client.Conversation{Conv: "c", Title: "T", Members: []chat.Change{{User: "bob", Role: chat.Writer}}})
	if err != nil || made.Conv != "c" || made.Seq != 1 {
		t.Fatalf("Create = %+v, %v", made, err)
	}
	sendMany(t, c, "c", 450)
	if _, err := c.ChangeMembers(within(t), "c", chat.Change{User: "cas", Role: chat.Reader}); err != nil {
		t.Errorf("ChangeMembers: %v", err)
	}
	cl.cut(nil) // requests are repeated on the next connection
	p, err := c.History(within(t), client.Query{Conv: "c", Limit: 10})
	if err != nil || len(p.Entries) != 10 || p.Head != 452 || p.Entries[9].Seq != 452 {
		t.Fatalf("History = %d entries to %d, %v", len(p.Entries), p.Head, err)
	}
	var seqs int
	if err := c.ReadAll(within(t), "c", 0, func(e chat.Entry) bool { seqs++; return e.Seq == chat.Seq(seqs) }); err != nil || seqs != 452 {
		t.Errorf("ReadAll gave %d entries, %v", seqs, err)
	}
	info, err := c.Info(within(t), "c")
	if err != nil || info.Head != 452 {
		t.Errorf("Info = %+v, %v", info, err)
	}
	if _, err := c.Ping(within(t)); err != nil {
		t.Errorf("Ping: %v", err)
	}
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type == wire.Info {
			p.refuse(req.Ref, chat.NotFound, 0)
		}
		return req.Type == wire.Info
	})
	if _, err := c.Info(within(t), "c"); chat.CodeOf(err) != chat.NotFound {
		t.Errorf("Info = %v, want not_found", err)
	}
}

// A node that is busy for now is asked again, more often than its limit of
// requests allows at once.
func TestRequestsRetryAndQueue(t *testing.T) {
	cl, urls := newCluster(t, 1)
	busy := 0
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type == wire.History && busy < 50 {
			busy++
			p.refuse(req.Ref, chat.Busy, 1)
			return true
		}
		return false
	})
	c := dial(t, urls, config())
	sendMany(t, c, "c", 3)
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			if p, err := c.History(within(t), client.Query{Conv: "c"}); err != nil || len(p.Entries) != 3 {
				t.Errorf("History = %d entries, %v", len(p.Entries), err)
			}
		})
	}
	wg.Wait()
}

func TestProofs(t *testing.T) {
	cl, urls := newCluster(t, 1)
	c := dial(t, urls, config())
	acks := sendMany(t, c, "c", 40)
	early, late := client.RootOf(acks[9]), client.RootOf(acks[39])
	p, err := c.History(within(t), client.Query{Conv: "c", Limit: 40})
	if err != nil {
		t.Fatal(err)
	}
	tree := client.NewTree("c")
	for i := range p.Entries {
		e := &p.Entries[i]
		if err := c.VerifyEntry(within(t), e, late); err != nil {
			t.Errorf("entry %d: %v", e.Seq, err)
		}
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.VerifyGrowth(within(t), "c", early); err != nil || got != late {
		t.Errorf("VerifyGrowth = %v, %v, want the newest root", got, err)
	}
	if err := errors.Join(tree.Check(early), tree.Check(late)); err != nil || tree.Root() != late {
		t.Errorf("Tree.Check: %v", err)
	}
	forged := p.Entries[4]
	forged.Body.Text = "something else"
	if err := c.VerifyEntry(within(t), &forged, late); chat.CodeOf(err) != chat.Corrupt {
		t.Errorf("a forged entry gives %v, want corrupt", err)
	}
	wrong := early
	wrong.Hash[3] ^= 1
	if _, err := c.VerifyGrowth(within(t), "c", wrong); chat.CodeOf(err) != chat.Corrupt {
		t.Errorf("a forked history gives %v, want corrupt", err)
	}
	if err := tree.Check(wrong); chat.CodeOf(err) != chat.Corrupt {
		t.Errorf("Tree.Check of another root gives %v, want corrupt", err)
	}
	if err := tree.Check(client.Root{Size: 99}); chat.CodeOf(err) != chat.Behind {
		t.Errorf("Tree.Check of a larger size gives %v, want behind", err)
	}
	_ = cl
}

func TestDialErrors(t *testing.T) {
	cl, urls := newCluster(t, 1)
	token := client.StaticToken("t")
	for _, tt := range []struct {
		name  string
		addrs []string
		cfg   func(*client.Config)
		want  chat.Code
	}{
		{name: "no address", want: chat.Invalid},
		{name: "bad address", addrs: []string{"ftp://x"}, want: chat.Invalid},
		{name: "bad configuration", addrs: urls, cfg: func(c *client.Config) { c.InFlightMax = 0 }, want: chat.Invalid},
		{name: "bad device", addrs: urls, cfg: func(c *client.Config) { c.Device = "a b" }, want: chat.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			if _, err := client.Dial(within(t), tt.addrs, token, cfg); chat.CodeOf(err) != tt.want {
				t.Errorf("Dial = %v, want %s", err, tt.want)
			}
		})
	}
	cl.setScript(func(p *peer, req *wire.Request) bool {
		p.refuse(req.Ref, chat.Unauthenticated, 0)
		return true
	})
	if _, err := client.Dial(within(t), urls, token, config()); chat.CodeOf(err) != chat.Unauthenticated {
		t.Errorf("Dial with a bad token = %v, want unauthenticated", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Dial(ctx, urls, token, config()); err == nil {
		t.Error("Dial under an ended context succeeds")
	}
}

// The first node is gone: the client finds another by itself; a client whose
// device was taken over stays away.
func TestReconnect(t *testing.T) {
	cl, urls := newCluster(t, 2)
	c := dial(t, append([]string{"127.0.0.1:1"}, urls...), config())
	sendMany(t, c, "c", 3)
	cl.mu.Lock()
	for p := range cl.peers {
		p.reply(&wire.Reply{Type: wire.Bye, Code: chat.ShuttingDn, Message: "scripted"})
		p.flush()
		_ = p.ws.Close()
	}
	cl.mu.Unlock()
	if _, err := c.Send(within(t), client.Message{Conv: "c", Text: "3"}); err != nil {
		t.Errorf("Send after a shutdown: %v", err)
	}
	cl.mu.Lock()
	for p := range cl.peers {
		p.reply(&wire.Reply{Type: wire.Bye, Code: chat.Replaced, Message: "scripted"})
		p.flush()
	}
	cl.mu.Unlock()
	for {
		_, err := c.Send(within(t), client.Message{Conv: "c", Text: "x"})
		if err == nil {
			continue // the bye was not read yet
		}
		if chat.CodeOf(err) != chat.Replaced {
			t.Errorf("after a takeover Send gives %v, want replaced", err)
		}
		break
	}
}

// Whatever a node sends, the client neither panics nor hangs.
func FuzzNodeFrames(f *testing.F) {
	for _, s := range []string{
		`{"type":"ack","ref":2,"seq":1,"msg_no":1,"time":1,"root":""}`,
		`[{"type":"entries","conv":"c","head":9,"entries":[{"seq":9,"msg_no":1,"time":1,"sender":"a","id":"018f3c5e-7b1a-7000-8000-000000000001","type":"message","salt":"00"}]}]`,
		`{"type":"error","ref":131074,"code":"busy","message":"","retry_after_ms":18446744073709551615}`,
		`{"type":"unsubscribed","conv":"c","code":"not_found"}`, `{"type":"bye","code":"nonsense"}`, `[`, `{}`, `[[]]`, "",
		`{"type":"subscribed","ref":3,"conv":"c","head":9007199254740991,"from":9007199254740991}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, frame string) {
		cl, urls := newCluster(t, 1)
		sent := false
		cl.setScript(func(p *peer, req *wire.Request) bool {
			if req.Type == wire.Send && !sent {
				sent = true
				p.flush()
				_ = p.ws.WriteMessage(1, []byte(strings.ToValidUTF8(frame, "?")))
			}
			return false
		})
		cfg := config()
		cfg.SendTimeout = 100 * time.Millisecond
		c, err := client.Dial(within(t), urls, client.StaticToken("t"), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Subscribe("c", 1); err != nil {
			t.Fatal(err)
		}
		_, _ = c.Send(within(t), client.Message{Conv: "c", Text: "x"}) // any outcome, but one
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _ = c.History(short, client.Query{Conv: "c"})
	})
}
