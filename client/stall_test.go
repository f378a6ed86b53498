package client_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
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
