package fanout_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/shard"
)

// sick is a log of which the conversations that begin with "dead" are of a group that
// has lost its quorum: reads of them wait until they are given up.
type sick struct{ *world }

func (s sick) ReadAfter(ctx context.Context, conv chat.ConvID, after chat.Seq, limit int) ([]chat.Entry, chat.Seq, error) {
	if strings.HasPrefix(string(conv), "dead") {
		<-ctx.Done()
		return nil, 0, chat.E("read", chat.Timeout, "no answer in time", ctx.Err())
	}
	return s.world.ReadAfter(ctx, conv, after, limit)
}

// However many conversations wait for a quorum, those of other groups learn what they
// have missed.
func TestRepairsThatWaitHoldNobodyUp(t *testing.T) {
	w := &world{node: "n1", buses: make(map[shard.NodeID]*fanout.Bus)}
	w.buses["n1"] = fanout.NewBus(func(chat.ConvID) bool { return true })
	t.Cleanup(w.buses["n1"].Close)
	cfg := fanout.DefaultConfig()
	cfg.ReadsMax, cfg.RetryWait, cfg.ReadWait = 2, time.Millisecond, time.Hour
	h := fanout.NewHub(context.WithoutCancel(t.Context()), cfg, fanout.Deps{
		Leaders: w, Feeds: func(n shard.NodeID) fanout.Feed { return w.buses[n] }, Log: sick{w},
	})
	t.Cleanup(h.Close)
	for i := range 8 {
		h.Open(chat.ConvID(fmt.Sprint("dead", i)), func() {})
	}
	w.say(false)
	watch := h.Open("r", func() {})
	eventually(t, "what was appended before it was opened", func() bool { return watch.Head() == 1 })
	w.say(false) // missed
	w.say(true)  // shows the gap
	eventually(t, "what was missed", func() bool { return watch.Head() == 3 })
}
