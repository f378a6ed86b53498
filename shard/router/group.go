package router

import (
	"sync"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
)

// group is the route of one group. While it is held, proposals wait in order
// for the keeper to find a leader; else each goes to the leader at once.
type group struct {
	r  *Router
	id shard.GroupID

	mu      sync.Mutex // guards all below, and the proposals of the group
	leader  shard.NodeID
	hint    shard.NodeID // whom another node named last
	refuser shard.NodeID // said it does not lead; not believed to until refusedTo
	held    bool
	closed  bool
	waiting list
	flying  list
	seq     uint64
	round   uint64 // of sending what waited
	failing uint64 // the round in which an attempt failed last
	told    shard.NodeID
	guess   int

	// as mono.Now
	heldSince, retryAt, rerouteAt, refusedTo int64
	backoff                                  time.Duration
}

const (
	backoffLeast = time.Millisecond
	refuserLife  = 100 * time.Millisecond
	guessAfter   = 150 * time.Millisecond // without a leader, when the own replica should know
)

// admit takes a new proposal.
func (g *group) admit(p *proposal) {
	g.mu.Lock()
	g.seq++
	p.seq = g.seq
	if g.leader == "" && !g.held && !g.closed {
		g.mu.Unlock()
		node := g.resolve(mono.Now())
		g.mu.Lock()
		if g.leader == "" && !g.held {
			g.leader = node
		}
	}
	if g.closed {
		p.list = nil
		g.finish(p, fsm.Result{}, errStopping())
		return
	}
	if g.held || g.leader == "" {
		fresh := g.hold(0)
		g.waiting.pushBack(p)
		g.mu.Unlock()
		if fresh {
			g.r.nudge()
		}
		return
	}
	node := g.leader
	token := g.launch(p, node)
	g.mu.Unlock()
	g.send(p, node, token)
}

// hold makes proposals wait from now on; it reports whether they did not yet.
func (g *group) hold(now int64) bool {
	if g.held {
		return false
	}
	if now == 0 {
		now = mono.Now()
	}
	g.held = true
	g.rerouteAt = now + int64(g.r.cfg.Grace)
	if g.heldSince == 0 {
		g.heldSince = now
	}
	return true
}

// launch books an attempt; the caller holds the mutex and calls send after it.
func (g *group) launch(p *proposal, node shard.NodeID) (token uint64) {
	p.attempt++
	p.node = node
	p.refs++
	if node == g.r.deps.Self {
		p.localOut, p.localTok = true, p.attempt
	}
	g.flying.pushBack(p)
	return p.attempt
}

func (g *group) send(p *proposal, node shard.NodeID, token uint64) {
	if node == g.r.deps.Self {
		g.r.deps.Local.Propose(g.id, p.cmd, p.onLocal)
		return
	}
	count(g.r.deps.Metrics.Forwarded)
	if err := g.r.deps.Remote.Propose(node, g.id, p.cmd, p, token); err != nil {
		p.answered(token, false, fsm.Result{}, chat.E("forward", chat.NotLeader, "", err))
	}
}

// succeeded notes that the leader works.
func (g *group) succeeded(p *proposal) {
	if p.node == g.leader {
		g.backoff, g.refuser = 0, ""
	}
	if g.heldSince != 0 && !g.held {
		if f := g.r.deps.Metrics.Recovered; f != nil {
			f(mono.Since(g.heldSince))
		}
		g.heldSince = 0
	}
}

// failed puts p back to wait, holds the group and plans the next attempt. It
// reports whether the keeper should look.
func (g *group) failed(p *proposal, err error) (look bool) {
	now := mono.Now()
	p.list.remove(p)
	g.waiting.insert(p)
	g.hold(now)
	count(g.r.deps.Metrics.Retried)
	hint, moved := HintOf(err)
	if code := chat.CodeOf(err); code == chat.Moved || code == chat.NotLeader {
		count(g.r.deps.Metrics.Moved)
		g.refuser, g.refusedTo = p.node, now+int64(refuserLife)
		if g.hint == p.node {
			g.hint = ""
		}
	}
	if moved && hint != p.node {
		g.hint = hint
	}
	if g.failing != g.round {
		g.failing = g.round
		g.backoff = min(max(2*g.backoff, backoffLeast), g.r.cfg.BackoffMax)
		g.retryAt = now + int64(g.backoff)
		if moved && g.backoff == backoffLeast {
			g.retryAt = now
		}
		return true
	}
	return g.flying.head == nil
}

// learn takes a hint from outside.
func (g *group) learn(node shard.NodeID) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed = node != g.told
	g.told = node
	if node != "" {
		g.hint = node
		if g.refuser == node {
			g.refuser = ""
		}
	}
	return changed
}

// known is the leader for those who do not propose.
func (g *group) known() (shard.NodeID, bool) {
	if n, ok := g.r.deps.Local.Leader(g.id); ok && n != "" {
		return n, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hint, g.hint != ""
}

// resolve finds the node to try, "" while there is none that may answer.
func (g *group) resolve(now int64) shard.NodeID {
	own, sure := g.r.deps.Local.Leader(g.id)
	sure = sure && own != ""
	g.mu.Lock()
	if now > g.refusedTo {
		g.refuser = ""
	}
	node := own
	if !sure || own == g.refuser {
		node = g.hint
	}
	if node == g.refuser {
		node = ""
	}
	old := g.heldSince != 0 && now-g.heldSince > int64(guessAfter)
	g.mu.Unlock()
	if node == "" || node != g.r.deps.Self && !g.r.deps.Remote.Up(node) {
		node = ""
		if !sure || old {
			node = g.guessed(old)
		}
	}
	if node == g.r.deps.Self && !g.r.deps.Local.IsLeader(g.id) {
		return ""
	}
	return node
}

// guessed is another replica of the group that answers: it may know more. A
// node with an own replica asks others only when that has known nothing for
// long.
func (g *group) guessed(old bool) shard.NodeID {
	m := g.r.m.Load()
	if m == nil {
		return g.guessAnyone()
	}
	row, ok := m.Group(g.id)
	if !ok || len(row.Replicas) == 0 || row.Has(g.r.deps.Self) && !old {
		return ""
	}
	g.mu.Lock()
	g.guess++
	start, refuser := g.guess, g.refuser
	g.mu.Unlock()
	for i := range row.Replicas {
		id := row.Replicas[(start+i)%len(row.Replicas)]
		if id != g.r.deps.Self && id != refuser && g.r.deps.Remote.Up(id) {
			return id
		}
	}
	return ""
}

// guessAnyone serves the one case without a map: this node is making the
// cluster and leads the meta group itself.
func (g *group) guessAnyone() shard.NodeID {
	if g.id == shard.Meta && g.r.deps.Local.IsLeader(g.id) {
		return g.r.deps.Self
	}
	return ""
}
