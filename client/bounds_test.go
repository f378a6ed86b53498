package client_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/wire"
)

// What no node takes is refused before it is written: an object that is larger than a
// frame may be would break the connection, the next one too, and with it all that others
// of the program wait for.
func TestNothingIsWrittenThatNoNodeTakes(t *testing.T) {
	cl, urls := newCluster(t, 1)
	written := 0
	cl.setScript(func(_ *peer, req *wire.Request) bool {
		if req.Type != wire.Hello && req.Type != wire.Ping {
			written++
		}
		return false
	})
	c := dial(t, urls, config())
	huge := strings.Repeat("x", wire.FrameBytesMax)
	var crowd []chat.Change
	for i := range chat.ChannelMembersMax {
		crowd = append(crowd, chat.Change{User: chat.UserID(fmt.Sprintf("a-user-with-a-long-name-%d", i)), Role: chat.Writer})
	}
	tests := []struct {
		name string
		do   func() error
		want chat.Code
	}{
		{"content type", func() error {
			_, err := c.Send(within(t), client.Message{Conv: "c", Text: "x", ContentType: huge})
			return err
		}, chat.TooLarge},
		{"members of a new channel", func() error {
			_, err := c.Create(within(t), client.Conversation{Conv: "c", Kind: chat.Channel, Members: crowd})
			return err
		}, chat.TooLarge},
		{"one member too many", func() error {
			_, err := c.ChangeMembers(within(t), "c", crowd[:chat.MembersPerCommand+1]...)
			return err
		}, chat.TooLarge},
		{"title", func() error {
			_, err := c.Create(within(t), client.Conversation{Conv: "c", Title: huge})
			return err
		}, chat.TooLarge},
		{"a title that is not UTF-8", func() error {
			_, err := c.Create(within(t), client.Conversation{Conv: "c", Title: "\xff"})
			return err
		}, chat.InvalidUTF8},
		{"conversation", func() error { _, err := c.Info(within(t), chat.ConvID(huge)); return err }, chat.Invalid},
		{"user", func() error {
			_, err := c.ChangeMembers(within(t), "c", chat.Change{User: chat.UserID(huge), Role: chat.Writer})
			return err
		}, chat.Invalid},
		{"role", func() error {
			_, err := c.ChangeMembers(within(t), "c", chat.Change{User: "bob", Role: 77})
			return err
		}, chat.Invalid},
		{"limit", func() error {
			_, err := c.History(within(t), client.Query{Conv: "c", Limit: chat.PageEntriesMax + 1})
			return err
		}, chat.Invalid},
		{"page without being asked to wait", func() error {
			return c.HistoryAsync(client.Query{Conv: chat.ConvID(huge)}, func(client.Page, error) { t.Error("answered twice") })
		}, chat.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); chat.CodeOf(err) != tt.want {
				t.Errorf("got %.80v, want %q", err, tt.want)
			}
		})
	}
	if _, err := c.Ping(within(t)); err != nil {
		t.Fatal(err)
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if n := c.Stats().Connects; written != 0 || n != 1 {
		t.Errorf("%d objects were written over %d connections, want none over one", written, n)
	}
}

// While a node does not answer, requests that their callers give up leave nothing behind.
func TestRequestsThatAreGivenUpAreForgotten(t *testing.T) {
	cl, urls := newCluster(t, 1)
	asked := make(chan struct{}, 1)
	cl.setScript(func(_ *peer, req *wire.Request) bool {
		if req.Type == wire.Info {
			asked <- struct{}{}
		}
		return req.Type == wire.Info
	})
	cfg := config()
	cfg.RequestsMax = 1
	c := dial(t, urls, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := c.Info(ctx, "c"); first <- err }()
	<-asked // nothing else is written from here on
	given, stop := context.WithCancel(t.Context())
	stop()
	for range 10_000 {
		if _, err := c.Info(given, "c"); chat.CodeOf(err) != chat.Canceled {
			t.Fatalf("Info = %v, want canceled", err)
		}
	}
	if n := c.Queued(); n > 1000 {
		t.Errorf("%d requests wait to be written, of which nobody wants any", n)
	}
	cancel()
	wait(t, "Info", first, chat.Canceled)
}

// A client whose requests all wait asks the node for a sign of life nevertheless,
// before it takes it for dead.
func TestWaitingRequestsHoldUpNoPing(t *testing.T) {
	cl, urls := newCluster(t, 1)
	var asked, pinged int // under the cluster's lock
	alive := make(chan struct{})
	cl.setScript(func(_ *peer, req *wire.Request) bool {
		switch req.Type {
		case wire.Info:
			asked++
			return true
		case wire.Ping:
			if pinged++; pinged == 1 {
				close(alive)
			}
		default:
		}
		return false
	})
	cfg := config()
	cfg.RequestsMax, cfg.PingInterval, cfg.PongTimeout = 4, 20*time.Millisecond, patience
	c := dial(t, urls, cfg)
	for range 2 * cfg.RequestsMax {
		go func() { _, _ = c.Info(t.Context(), "c") }()
	}
	select {
	case <-alive:
	case <-time.After(patience):
		t.Error("the node was not asked for a sign of life")
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if asked > cfg.RequestsMax {
		t.Errorf("%d requests were on the wire, want at most %d", asked, cfg.RequestsMax)
	}
}

// A subscription that nobody reads holds a bounded number of bytes, not of entries only.
func TestSubscriptionQueueIsBoundedInBytes(t *testing.T) {
	_, urls := newCluster(t, 1)
	writer := dial(t, urls, config())
	const n, size = 60, 10 << 10
	for i := range n {
		if _, err := writer.Send(within(t), client.Message{Conv: "c", Text: strings.Repeat("x", size-i)}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config()
	cfg.SubscriptionBytes = 5 * size
	c := dial(t, urls, cfg)
	s, err := c.Subscribe("c", 1)
	if err != nil {
		t.Fatal(err)
	}
	for { // until what is kept does not grow any more
		next, head := s.Position()
		if head == n && (next > n || s.Paused()) {
			break
		}
		runtime.Gosched()
	}
	if next, _ := s.Position(); next > 6 {
		t.Errorf("%d entries of %d bytes are kept, want 5", next-1, size)
	}
	expect(t, s, 1, n)
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

// A ref has 16 bits for the place of a send: with more in flight, answers would be lost.
func TestConfigBounds(t *testing.T) {
	for _, edit := range []func(*client.Config){
		func(c *client.Config) { c.InFlightMax = 1<<16 + 1 },
		func(c *client.Config) { c.FrameBytesMax = wire.FrameBytesMax + 1 },
		func(c *client.Config) { c.SubscriptionBytes = 0 },
	} {
		cfg := config()
		if edit(&cfg); cfg.Validate() == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
