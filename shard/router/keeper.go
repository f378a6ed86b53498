package router

import (
	"time"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
)

const idlePoll = 250 * time.Millisecond

// keep is the router's one goroutine: it sends what waits, notices new leaders
// and ends proposals at their deadline.
func (r *Router) keep() {
	defer close(r.stopped)
	timer := time.NewTimer(idlePoll)
	defer timer.Stop()
	var polled time.Time
	for {
		select {
		case <-r.stop:
			r.failAll()
			return
		case <-r.wake:
		case <-timer.C:
		}
		now := time.Now()
		next := idlePoll
		if r.flying.Load() > 0 {
			next = r.tendAll(mono.Of(now))
		}
		if now.Sub(polled) >= idlePoll {
			polled = now
			r.pollLeaders()
		}
		timer.Reset(next)
	}
}

func (r *Router) groupCount() int {
	if m := r.m.Load(); m != nil {
		return len(m.Groups)
	}
	return 1
}

// tendAll looks at every group and says when to look again.
func (r *Router) tendAll(now int64) time.Duration {
	next := r.cfg.Sweep
	for i := range r.groupCount() {
		if wait := r.groups[i].tend(now); wait < next {
			next = wait
		}
	}
	return max(next, backoffLeast)
}

// pollLeaders tells the watchers what no event brought.
func (r *Router) pollLeaders() {
	changed := false
	for i := range r.groupCount() {
		g := &r.groups[i]
		node, _ := r.deps.Local.Leader(g.id)
		g.mu.Lock()
		if node != "" && g.told != node {
			g.told, changed = node, true
		}
		g.mu.Unlock()
	}
	if changed {
		r.notify()
	}
}

// tend ends what is due, re-routes from a node that no longer leads, and sends
// what waits when there is a leader. It returns when to look again.
func (g *group) tend(now int64) time.Duration {
	g.expire(now)
	g.mu.Lock()
	idle := g.flying.head == nil && g.waiting.head == nil
	if idle {
		g.held = false // nobody waits: the next one finds its way at once
		g.leaveLeader()
	}
	g.mu.Unlock()
	if idle {
		return g.r.cfg.Sweep
	}
	node := g.resolve(now)
	g.mu.Lock()
	if !g.held && node != "" && node != g.leader {
		g.hold(now)
	}
	if !g.held {
		g.mu.Unlock()
		return g.r.cfg.Sweep
	}
	if node == "" {
		g.mu.Unlock()
		return g.pause(0)
	}
	if wait := max(g.retryAt, g.reroute(node, now)) - now; wait > 0 {
		g.mu.Unlock()
		return g.pause(wait)
	}
	g.leader = node
	g.round++
	g.mu.Unlock()
	g.flush(node)
	return g.r.cfg.BackoffMax / 4
}

// leaveLeader forgets a leader that no proposal is using, so that the next one
// asks who leads instead of trying who led.
func (g *group) leaveLeader() { g.leader = "" }

// pause is how long the keeper may sleep while the group is held: short at
// first, since a new leader comes within milliseconds after a crash.
func (g *group) pause(wait int64) time.Duration {
	short := g.r.cfg.BackoffMax / 4
	if wait > 0 {
		return min(time.Duration(wait), g.r.cfg.BackoffMax)
	}
	return short
}

// reroute takes the proposals that another node than leader holds back to wait,
// once that node has had its time to answer. It returns when that is, or now.
func (g *group) reroute(leader shard.NodeID, now int64) int64 {
	var next *proposal
	for p := g.flying.head; p != nil; p = next {
		next = p.next
		if p.node == leader {
			continue
		}
		if now < g.rerouteAt {
			return g.rerouteAt
		}
		g.flying.remove(p)
		p.maybe = true
		g.waiting.insert(p)
		count(g.r.deps.Metrics.Retried)
	}
	return now
}

// flush sends what waits, in order, until nothing does or an attempt fails.
func (g *group) flush(node shard.NodeID) {
	for {
		g.mu.Lock()
		p := g.waiting.head
		if p == nil {
			g.held = false
			g.mu.Unlock()
			return
		}
		if g.failing == g.round || p.localOut && node == g.r.deps.Self {
			g.mu.Unlock()
			return
		}
		g.waiting.remove(p)
		token := g.launch(p, node)
		g.mu.Unlock()
		g.send(p, node, token)
	}
}

// expire ends the proposals whose deadline has passed.
func (g *group) expire(now int64) {
	for {
		g.mu.Lock()
		p := due(&g.waiting, now)
		if p == nil {
			p = due(&g.flying, now)
		}
		if p == nil {
			g.mu.Unlock()
			return
		}
		maybe := p.maybe || p.list == &g.flying
		count(g.r.deps.Metrics.Expired)
		g.finish(p, fsm.Result{}, errUnavailable(maybe))
	}
}

func due(l *list, now int64) *proposal {
	for p := l.head; p != nil; p = p.next {
		if p.deadline <= now {
			return p
		}
	}
	return nil
}

// failAll answers everything when the router closes.
func (r *Router) failAll() {
	for i := range r.groups {
		g := &r.groups[i]
		for {
			g.mu.Lock()
			g.closed = true
			p := g.waiting.head
			if p == nil {
				p = g.flying.head
			}
			if p == nil {
				g.mu.Unlock()
				break
			}
			err := errUnavailable(true)
			if !p.maybe && p.list == &g.waiting {
				err = errStopping()
			}
			g.finish(p, fsm.Result{}, err)
		}
	}
}
