package transport

import (
	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

// hold is a success that waits for the local log to be durable: an answer of
// this follower on its way out, or an answer to this leader on its way in.
type hold struct {
	index uint64

	link *link // out
	req  uint64
	resp raft.AppendEntriesResponse

	from   shard.NodeID // in
	waiter call         // told by fail(nil) or fail(err)
}

func (h *hold) release(g *Group) {
	if h.waiter != nil {
		h.waiter.fail(nil)
		return
	}
	_ = h.link.send(kindAppendResp, g.id, h.req, true, false, func(b []byte) []byte {
		return encodeAppendResp(b, &h.resp)
	}) // a failed link needs no answer
}

func (h *hold) abandon(g *Group, err error) {
	if h.waiter != nil {
		h.waiter.fail(err)
		return
	}
	h.link.refuse(g.id, h.req, err.Error())
}

// hold releases h when the log is durable up to its index, which may be now.
func (g *Group) hold(h hold) {
	g.mu.Lock()
	switch {
	case g.closed:
		g.mu.Unlock()
		h.abandon(g, errGroupClosed)
		return
	case g.opts.DurableIndex() < h.index:
		g.holds = append(g.holds, h)
		g.mu.Unlock()
		return
	}
	if h.waiter != nil {
		g.ackedLocked(h.from, h.index)
	}
	g.mu.Unlock()
	h.release(g)
}

// Durable tells the group that its log is durable further than before. The log's
// writer calls it after each fsync. How far is asked anew: the entries that were
// synced may have been replaced by others since.
func (g *Group) Durable() {
	var few [8]hold
	ready := few[:0]
	g.mu.Lock()
	if len(g.holds) == 0 {
		g.mu.Unlock()
		return
	}
	index := g.opts.DurableIndex()
	keep := g.holds[:0]
	for _, h := range g.holds {
		if h.index > index {
			keep = append(keep, h)
			continue
		}
		if h.waiter != nil {
			g.ackedLocked(h.from, h.index)
		}
		ready = append(ready, h)
	}
	clear(g.holds[len(keep):])
	g.holds = keep
	g.mu.Unlock()
	for i := range ready {
		ready[i].release(g)
	}
}

// Truncated tells the group that the entries from index on were removed from
// the log's end: what waits for them will not come.
func (g *Group) Truncated(from uint64) {
	var gone []hold
	g.mu.Lock()
	keep := g.holds[:0]
	for _, h := range g.holds {
		if h.index < from {
			keep = append(keep, h)
			continue
		}
		gone = append(gone, h)
	}
	clear(g.holds[len(keep):])
	g.holds = keep
	g.mu.Unlock()
	for i := range gone {
		gone[i].abandon(g, errTruncated)
	}
}
