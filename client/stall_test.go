package client_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/wire"
)

// muteNode takes connections and says nothing, as a process does that was stopped.
func muteNode(t *testing.T) (address string, asked chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = make(chan struct{}, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			if _, err := c.Read(make([]byte, 1)); err == nil { // it waits for an answer now
				asked <- struct{}{}
			}
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String(), asked
}

// A node that takes the connection and then says nothing holds up neither the end
// of a Dial that was given up nor Close.
func TestMuteNodeHoldsNothingUp(t *testing.T) {
	mute, asked := muteNode(t)
	cfg := config()
	cfg.DialTimeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := client.Dial(ctx, []string{mute}, client.StaticToken("t"), cfg)
		ended <- err
	}()
	<-asked
	cancel()
	wait(t, "Dial", ended, chat.Canceled)

	cl, urls := newCluster(t, 1)
	cfg.InOrder = true
	c := dial(t, append(urls, mute), cfg)
	cl.cut(nil)
	<-asked // it is at the other one now
	go func() { ended <- c.Close() }()
	wait(t, "Close", ended, chat.OK)
}

func wait(t *testing.T, what string, ended <-chan error, want chat.Code) {
	t.Helper()
	select {
	case err := <-ended:
		if chat.CodeOf(err) != want {
			t.Errorf("%s = %v, want %q", what, err, want)
		}
	case <-time.After(patience):
		t.Fatalf("%s did not return", what)
	}
}

// Who waits for room in the outbox gets it when a send that its caller has given up
// is answered on the next connection.
func TestRoomOfAbandonedSends(t *testing.T) {
	cl, urls := newCluster(t, 1)
	got := make(chan struct{}, 16)
	mute := true // under the cluster's lock
	cl.setScript(func(_ *peer, req *wire.Request) bool {
		if req.Type == wire.Send && mute {
			got <- struct{}{}
			return true
		}
		return false
	})
	cfg := config()
	cfg.InFlightMax, cfg.SendTimeout = 1, time.Hour
	c := dial(t, urls, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	first := sendFirst(ctx, c)
	<-got
	cancel()
	wait(t, "Send", first, chat.Canceled)
	second := make(chan error, 1)
	go func() {
		_, err := c.Send(within(t), client.Message{Conv: "d", Text: "0"})
		second <- err
	}()
	for c.Waiting() == 0 {
		runtime.Gosched()
	}
	cl.mu.Lock()
	mute = false
	cl.mu.Unlock()
	cl.cut(nil)
	wait(t, "the send that waits for room", second, chat.OK)
}

// A send that its caller has given up may lie with a node that goes on later. The
// next one of the same conversation must not pass it.
func TestNothingPassesAnAbandonedSend(t *testing.T) {
	for _, way := range []string{"the connection breaks", "the node says unavailable", "unavailable, then given up"} {
		t.Run(way, func(t *testing.T) {
			cl, urls := newCluster(t, 1)
			got, refs := make(chan struct{}, 1), make(chan uint64, 1)
			var held wire.Request // under the cluster's lock, as are the following
			var from *peer
			refused := 0
			cl.setScript(func(p *peer, req *wire.Request) bool {
				if req.Type != wire.Send || req.Text != "0" {
					return false
				}
				if from == nil {
					held, from = *req, p
					held.Changes = nil
					refs <- req.Ref
					got <- struct{}{}
					return true
				}
				if way == "unavailable, then given up" && refused < 3 {
					refused++
					p.refuse(req.Ref, chat.Busy, 0)
					return true
				}
				return false
			})
			unavailable := func() {
				cl.mu.Lock()
				defer cl.mu.Unlock()
				from.refuse(<-refs, chat.Unavailable, 0)
				from.flush()
			}
			c := dial(t, urls, config())
			ctx, cancel := context.WithCancel(t.Context())
			first := sendFirst(ctx, c)
			<-got
			if way == "unavailable, then given up" {
				unavailable()
				for c.Stats().Refused == 0 {
					runtime.Gosched()
				}
			}
			cancel()
			<-first // canceled, or the answer that came meanwhile
			switch way {
			case "the connection breaks":
				cl.cut(nil)
			case "the node says unavailable":
				unavailable()
			}
			if _, err := c.Send(within(t), client.Message{Conv: "c", Text: "1"}); err != nil {
				t.Fatal(err)
			}
			cl.mu.Lock()
			cl.conv("c").append("c", held.ID, held.After, held.Text)
			cl.mu.Unlock()
			inOrder(t, cl, "c", 2)
		})
	}
}

// sendFirst sends a message that its caller waits for on the channel.
func sendFirst(ctx context.Context, c *client.Client) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Send(ctx, client.Message{Conv: "c", Text: "0"})
		done <- err
	}()
	return done
}
