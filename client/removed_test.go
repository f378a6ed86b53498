package client_test

import (
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/wire"
)

// Somebody is removed while his subscription is not open at a node, since he reads
// slowly or is on his way to another node. He gets what was his to see all the same.
func TestRemovedWhileNotSubscribed(t *testing.T) {
	removed := func(cl *cluster) {
		cl.setScript(func(p *peer, req *wire.Request) bool {
			if req.Type == wire.Subscribe {
				p.refuse(req.Ref, chat.NotFound, 0)
			}
			return req.Type == wire.Subscribe
		})
	}
	t.Run("slow", func(t *testing.T) {
		cl, urls := newCluster(t, 1)
		cfg := config()
		cfg.SubscriptionQueue = 8
		c := dial(t, urls, cfg)
		sendMany(t, c, "c", 450)
		s, err := c.Subscribe("c", 1)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, s, 1, 1)
		removed(cl)
		expect(t, s, 2, 449)
		if _, err := s.Next(within(t)); chat.CodeOf(err) != chat.NotFound {
			t.Errorf("at the end Next gives %v, want not_found", err)
		}
	})
	t.Run("away", func(t *testing.T) {
		cl, urls := newCluster(t, 1)
		c := dial(t, urls, config())
		got := make(chan chat.Seq, 1000)
		s, err := c.SubscribeFunc("c", 1, func(entries []chat.Entry) {
			for _, e := range entries {
				got <- e.Seq
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		sendMany(t, c, "c", 3)
		for want := chat.Seq(1); want <= 3; want++ {
			if seq := <-got; seq != want {
				t.Fatalf("entry %d, want %d", seq, want)
			}
		}
		removed(cl)
		cl.mu.Lock()
		for n := range 250 {
			cl.conv("c").append("c", client.NewID(), chat.ClientID{}, string(rune('a'+n%26)))
		}
		for p := range cl.peers {
			_ = p.ws.Close()
		}
		cl.mu.Unlock()
		if _, err := s.Next(within(t)); chat.CodeOf(err) != chat.NotFound {
			t.Fatalf("it ended with %v, want not_found", err)
		}
		close(got)
		want := chat.Seq(4)
		for seq := range got {
			if seq != want {
				t.Fatalf("entry %d, want %d", seq, want)
			}
			want++
		}
		if want != 254 {
			t.Errorf("entries came up to %d, want 253", want-1)
		}
	})
}
