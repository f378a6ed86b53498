package clients

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

// Every node is killed once, the one that the clients are connected to first,
// while one client sends and another reads. Neither needs help: everything sent
// is acknowledged, and read once and in order.
func TestSDKSurvivesNodeKills(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Nodes: 3})
	addrs := c.Addrs()
	writer := dial(t, c, "ann", addrs...)
	reader := dial(t, c, "ann", addrs...)
	const convs = 4
	for i := range convs {
		if _, err := writer.Create(within(t), client.Conversation{Conv: conv(i)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sent := make([]int, convs)
	var sending sync.WaitGroup
	for i := range convs {
		sending.Go(func() {
			for ctx.Err() == nil {
				text := fmt.Sprint(sent[i])
				if _, err := writer.Send(t.Context(), client.Message{Conv: conv(i), Text: text}); err != nil {
					t.Errorf("%s message %s: %v", conv(i), text, err)
					return
				}
				sent[i]++
			}
		})
	}
	var subs []*client.Subscription
	for i := range convs {
		s, err := reader.Subscribe(conv(i), 1)
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, s)
	}
	for _, n := range c.Nodes {
		n.Kill(t)
		progress(t, writer, "while "+n.ID+" is down")
		n.Start(t)
		c.WaitHealthy(t)
	}
	stop()
	sending.Wait()
	for i, s := range subs {
		for want := range sent[i] + 1 { // the creation, then the messages
			e, err := s.Next(within(t))
			if err != nil {
				t.Fatalf("%s entry %d of %d: %v", conv(i), want+1, sent[i]+1, err)
			}
			if e.Seq != chat.Seq(want+1) || want > 0 && e.Body.Text != fmt.Sprint(want-1) {
				t.Fatalf("%s: entry %d is %d %q", conv(i), want+1, e.Seq, e.Body.Text)
			}
		}
	}
	t.Logf("sent %v; writer %+v; reader %+v", sent, writer.Stats(), reader.Stats())
	if writer.Stats().Connects < 2 {
		t.Error("the writer never lost its node")
	}
}

func conv(i int) chat.ConvID { return chat.ConvID(fmt.Sprintf("c%d", i)) }

// progress waits until new conversations are acknowledged.
func progress(t *testing.T, c *client.Client, when string) {
	t.Helper()
	for i := range 16 { // over all groups, most likely
		id := chat.ConvID(fmt.Sprintf("probe-%d-%s", i, client.NewID()))
		if _, err := c.Create(within(t), client.Conversation{Conv: id}); err != nil {
			t.Fatalf("%s: %s is not served: %v", when, id, err)
		}
	}
}
