package bench

import (
	"math/rand/v2"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

// TestSendersAreElsewhere: what is called the latency to a subscriber on another
// node would else be, for some messages, that to one on the same.
func TestSendersAreElsewhere(t *testing.T) {
	const seed = 7
	for _, tt := range []struct{ nodes, convs, conns int }{{3, 1, 0}, {3, 2, 0}, {3, 200, 0}, {2, 1, 0}, {5, 3, 0}, {3, 200, 7}, {3, 5, 4}} {
		w := DefaultLatency()
		w.Conversations, w.Connections = tt.convs, tt.conns
		n := w.connections(tt.nodes)
		f := &flight{w: w, nodes: tt.nodes, senders: make([]*client.Client, n), readers: make([]*client.Client, n)}
		f.convs = append(f.convs, make([]chat.ConvID, tt.convs)...)
		rnd := rand.New(rand.NewPCG(seed, 0))
		used := map[int]bool{}
		for i := range 10_000 {
			k := i % tt.convs
			s := f.sender(rnd, k)
			used[s] = true
			if s%tt.nodes == f.reader(k)%tt.nodes {
				t.Fatalf("%d nodes, %d conversations (seed %d): conversation %d is sent to by connection %d and read by %d, of one node",
					tt.nodes, tt.convs, seed, k, s, f.reader(k))
			}
		}
		if in := len(used) * 32; tt.convs == 1 && in < latencyInFlight/2 {
			t.Errorf("%d nodes: one conversation has room for %d messages in flight", tt.nodes, in)
		}
	}
}
