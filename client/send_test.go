package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/wire"
)

// sendMany sends n numbered messages to conv and waits for all answers.
func sendMany(t *testing.T, c *client.Client, conv chat.ConvID, n int) []chat.Ack {
	t.Helper()
	acks := make([]chat.Ack, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		err := c.SendAsync(within(t), client.Message{Conv: conv, Text: fmt.Sprint(i)}, func(a chat.Ack, err error) {
			defer wg.Done()
			if err != nil {
				t.Errorf("message %d of %s: %v", i, conv, err)
			}
			acks[i] = a
		})
		if err != nil {
			t.Fatalf("SendAsync %d: %v", i, err)
		}
	}
	wg.Wait()
	return acks
}

// inOrder fails unless conv holds exactly the texts 0..n-1 in this order.
func inOrder(t *testing.T, cl *cluster, conv chat.ConvID, n int) {
	t.Helper()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	entries := cl.conv(conv).entries
	if len(entries) != n {
		t.Fatalf("%s has %d entries, want %d", conv, len(entries), n)
	}
	for i, e := range entries {
		if e.Body.Text != fmt.Sprint(i) {
			t.Fatalf("%s: entry %d is message %s", conv, i+1, e.Body.Text)
		}
	}
}

func TestSendKeepsOrder(t *testing.T) {
	cl, urls := newCluster(t, 1)
	c := dial(t, urls, config())
	for i, a := range sendMany(t, c, "c", 300) {
		if a.Seq != chat.Seq(i+1) || a.Dup {
			t.Fatalf("ack %d = %+v", i, a)
		}
	}
	inOrder(t, cl, "c", 300)
	ack, err := c.Send(within(t), client.Message{To: "bob", Text: "hi"})
	if err != nil || ack.Seq != 1 {
		t.Errorf("Send to a user = %+v, %v", ack, err)
	}
}

// Faults of every kind, drawn from a seed, while several conversations are
// written to: connections cut before and after the append, refusals for now,
// lost answers. What is acknowledged must be there once and in order.
func TestSendSurvivesFaults(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	cl, urls := newCluster(t, 3)
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type != wire.Send {
			return false
		}
		switch rnd.IntN(400) {
		case 0:
			_ = p.ws.Close()
			return true
		case 1: // appended, but the answer is lost
			p.cl.conv(chat.ConvID(strings.Clone(string(req.Conv)))).append(chat.ConvID(strings.Clone(string(req.Conv))), req.ID, req.After, req.Text)
			_ = p.ws.Close()
			return true
		case 2:
			p.refuse(req.Ref, chat.Busy, 3)
			return true
		case 3:
			p.refuse(req.Ref, chat.Unavailable, 0)
			return true
		case 4: // appended and yet called unavailable
			p.cl.conv(chat.ConvID(strings.Clone(string(req.Conv)))).append(chat.ConvID(strings.Clone(string(req.Conv))), req.ID, req.After, req.Text)
			p.refuse(req.Ref, chat.Unavailable, 0)
			return true
		}
		return false
	})
	c := dial(t, urls, config())
	const convs, each = 8, 150
	var wg sync.WaitGroup
	for i := range convs {
		wg.Go(func() {
			sendMany(t, c, chat.ConvID(fmt.Sprintf("c%d", i)), each)
		})
	}
	wg.Wait()
	for i := range convs {
		inOrder(t, cl, chat.ConvID(fmt.Sprintf("c%d", i)), each)
	}
	t.Logf("%+v", c.Stats())
}

func TestSendRefusals(t *testing.T) {
	cl, urls := newCluster(t, 1)
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type == wire.Send && req.Text == "refuse me" {
			p.refuse(req.Ref, chat.Forbidden, 0)
			return true
		}
		return false
	})
	c := dial(t, urls, config())
	tests := []struct {
		name string
		msg  client.Message
		want chat.Code
	}{
		{name: "role", msg: client.Message{Conv: "c", Text: "refuse me"}, want: chat.Forbidden},
		{name: "empty", msg: client.Message{Conv: "c"}, want: chat.Invalid},
		{name: "conversation", msg: client.Message{Conv: "a b", Text: "x"}, want: chat.Invalid},
		{name: "both", msg: client.Message{Conv: "c", To: "bob", Text: "x"}, want: chat.Invalid},
		{name: "bytes", msg: client.Message{Conv: "c", Text: strings.Repeat("x", chat.TextBytesMax+1)}, want: chat.TooLarge},
		{name: "characters", msg: client.Message{Conv: "c", Text: strings.Repeat("x", chat.TextRunesMax+1)}, want: chat.TooLarge},
		{name: "escapes", msg: client.Message{Conv: "c", Text: strings.Repeat("\x01", chat.TextRunesMax)}, want: chat.TooLarge},
		{name: "not UTF-8", msg: client.Message{Conv: "c", Text: "\xff"}, want: chat.InvalidUTF8},
		{name: "most characters", msg: client.Message{Conv: "c", Text: strings.Repeat("界", chat.TextRunesMax)}, want: chat.OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := c.Send(within(t), tt.msg); chat.CodeOf(err) != tt.want {
				t.Errorf("Send = %v, want %q", err, tt.want)
			}
		})
	}
}

// A message behind one that was refused for good still arrives.
func TestSendGoesOnAfterRefusal(t *testing.T) {
	cl, urls := newCluster(t, 1)
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type == wire.Send && req.Text == "bad" {
			p.refuse(req.Ref, chat.Forbidden, 0)
			return true
		}
		return false
	})
	c := dial(t, urls, config())
	var refused atomic.Bool
	texts := []string{"0", "bad", "1", "2"}
	var wg sync.WaitGroup
	for _, text := range texts {
		wg.Add(1)
		if err := c.SendAsync(within(t), client.Message{Conv: "c", Text: text}, func(_ chat.Ack, err error) {
			defer wg.Done()
			if text == "bad" {
				refused.Store(chat.CodeOf(err) == chat.Forbidden)
			} else if err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if !refused.Load() {
		t.Error("the refused message was not told so")
	}
	inOrder(t, cl, "c", 3)
}

func TestBackPressure(t *testing.T) {
	cl, urls := newCluster(t, 1)
	var held []uint64
	var hold atomic.Bool
	hold.Store(true)
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type == wire.Send && hold.Load() {
			held = append(held, req.Ref)
			return true
		}
		return false
	})
	cfg := config()
	cfg.InFlightMax = 4
	c := dial(t, urls, cfg)
	var done sync.WaitGroup
	count := func(chat.Ack, error) { done.Done() }
	for i := range 4 {
		done.Add(1)
		if err := c.SendAsync(within(t), client.Message{Conv: chat.ConvID(fmt.Sprint("c", i)), Text: "x"}, count); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SendAsync(within(t), client.Message{Conv: "c", Text: "x", NoWait: true}, count); chat.CodeOf(err) != chat.Busy {
		t.Errorf("a full outbox answers %v, want busy", err)
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.SendAsync(short, client.Message{Conv: "c", Text: "x"}, count); chat.CodeOf(err) != chat.Canceled {
		t.Errorf("waiting for room answers %v, want canceled", err)
	}
	if n := c.InFlight(); n != 4 {
		t.Errorf("in flight: %d, want 4", n)
	}
	hold.Store(false)
	cl.cut(nil) // the next connection gets all four again
	done.Wait()
}

func TestSendContextAndClose(t *testing.T) {
	cl, urls := newCluster(t, 1)
	got := make(chan struct{}, 16)
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type == wire.Send {
			got <- struct{}{}
			return true // never answered
		}
		return false
	})
	c := dial(t, urls, config())
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-got; cancel() }()
	if _, err := c.Send(ctx, client.Message{Conv: "c", Text: "x"}); chat.CodeOf(err) != chat.Canceled {
		t.Errorf("Send = %v, want canceled", err)
	}
	answered := make(chan error, 1)
	if err := c.SendAsync(t.Context(), client.Message{Conv: "d", Text: "x"}, func(_ chat.Ack, err error) { answered <- err }); err != nil {
		t.Fatal(err)
	}
	<-got
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; chat.CodeOf(err) != chat.Canceled {
		t.Errorf("after Close the callback got %v, want canceled", err)
	}
	if _, err := c.Send(t.Context(), client.Message{Conv: "c", Text: "x"}); chat.CodeOf(err) != chat.Canceled {
		t.Errorf("Send after Close = %v, want canceled", err)
	}
}

func TestSendTimeout(t *testing.T) {
	cl, urls := newCluster(t, 1)
	cl.setScript(func(p *peer, req *wire.Request) bool { return req.Type == wire.Send })
	cfg := config()
	cfg.SendTimeout = 20 * time.Millisecond
	c := dial(t, urls, cfg)
	answered := make(chan error, 1)
	if err := c.SendAsync(t.Context(), client.Message{Conv: "d", Text: "x"}, func(_ chat.Ack, err error) { answered <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; chat.CodeOf(err) != chat.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}

func BenchmarkSendAck(b *testing.B) {
	for _, outstanding := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) {
			_, urls := newEcho(b)
			cfg := config()
			c := dial(b, urls, cfg)
			text := strings.Repeat("x", 256)
			convs := make([]chat.ConvID, 1000)
			for i := range convs {
				convs[i] = chat.ConvID(fmt.Sprintf("conv-%d", i))
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan struct{})
			var finished atomic.Int64
			var next func(chat.Ack, error)
			next = func(_ chat.Ack, err error) {
				if err != nil {
					b.Error(err)
				}
				if finished.Add(1) == int64(b.N) {
					close(done)
				}
				if n := left.Add(-1); n >= 0 {
					_ = c.SendAsync(context.Background(), client.Message{Conv: convs[n%1000], Text: text, NoWait: true}, next)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range min(outstanding, b.N) {
				if n := left.Add(-1); n >= 0 {
					_ = c.SendAsync(context.Background(), client.Message{Conv: convs[n%1000], Text: text}, next)
				}
			}
			<-done
		})
	}
}
