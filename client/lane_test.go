package client_test

import (
	"sync"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/wire"
)

// A direct conversation has two names, its id and the other user: the order of what
// is sent under both is that of the calls.
func TestBothNamesOfADirectConversationKeepOneOrder(t *testing.T) {
	cl, urls := newCluster(t, 1)
	refused := false // under the cluster's lock
	cl.setScript(func(p *peer, req *wire.Request) bool {
		if req.Type == wire.Send && !refused {
			refused = true
			p.refuse(req.Ref, chat.Busy, 5)
			return true
		}
		return false
	})
	c := dial(t, urls, config())
	direct := chat.DirectID("ann", "bob")
	var all sync.WaitGroup
	for _, m := range []client.Message{{To: "bob", Text: "0"}, {Conv: direct, Text: "1"}, {To: "bob", Text: "2"}} {
		all.Add(1)
		if err := c.SendAsync(within(t), m, func(_ chat.Ack, err error) {
			defer all.Done()
			if err != nil {
				t.Errorf("%s: %v", m.Text, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	inOrder(t, cl, direct, 3)
}
