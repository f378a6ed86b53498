package raftgroup

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
)

// The voters of a dead leader stand for election in turn. The first one stands
// at once. Who comes after it has nothing to do as long as that goes well, so
// the turns are far enough apart for an election on a slow disk and a busy
// processor: two who stand at a time split the votes, and then Raft waits for
// the election timeout. What would make a turn idle is met apart: a voter whose
// log is too old for the others' votes hands the turn on (outvoted), and a
// candidate that got no majority stands again (retry).
const (
	crashTurn    = 150 * time.Millisecond
	crashTurnMax = 300 * time.Millisecond
	crashFor     = 2 * time.Second // how long after a crash these rules hold
)

// peerDead is told that a peer's process has ended. The followers of its groups
// stand for election at once, in turn, instead of waiting for its silence. A
// wrong word costs an unneeded election and nothing else.
func (h *Host) peerDead(id shard.NodeID) {
	if h.ctx.Err() != nil {
		return
	}
	h.log.Warn("the process of a peer has ended", "peer", string(id))
	if m := h.deps.Metrics.PeerDead; m != nil {
		m(id)
	}
	for i := range h.groups {
		if g := h.groups[i].Load(); g != nil {
			g.leaderDied(id)
		}
	}
}

// crash is the end of a leader's process, as this replica met it.
type crash struct {
	g    *group
	dead shard.NodeID
	at   time.Time
	rank int           // of this replica among those who stand
	turn time.Duration // between two ranks
}

// leaderDied takes a turn when the peer led the group, or when nobody is known
// to lead it: another voter's question may be here before the word of the crash.
func (g *group) leaderDied(id shard.NodeID) {
	r := g.raft.Load()
	if r == nil || r.State() != raft.Follower {
		return
	}
	lead := g.leader()
	if lead != id && lead != "" {
		return
	}
	rank := electionRank(voters(r.GetConfiguration().Configuration()), g.id, id, g.host.deps.NodeID)
	if rank < 0 {
		return
	}
	// An election is four synced writes in a row; a slow disk makes the turns longer.
	turn := min(max(crashTurn, 8*time.Duration(g.logs.setTook.Load())), crashTurnMax)
	c := &crash{g: g, dead: id, at: time.Now(), rank: rank, turn: turn}
	g.crash.Store(c)
	wait := rank
	switch {
	case mono.Since(g.ahead.Load()) < turn:
		wait = max(rank-1, 0)
	case lead == "":
		wait = max(rank, 1)
	}
	c.after(time.Duration(wait)*turn, r.CurrentTerm(), c.stand)
}

// after runs fn, for what was known in term, later.
func (c *crash) after(wait time.Duration, term uint64, fn func(term uint64)) {
	if wait <= 0 {
		fn(term)
		return
	}
	time.AfterFunc(wait, func() {
		if c.g.host.ctx.Err() == nil && c.g.crash.Load() == c && time.Since(c.at) < crashFor {
			fn(term)
		}
	})
}

// settled reports whether another leader is known, or this replica leads.
func (c *crash) settled(r *raft.Raft) bool {
	if r.State() == raft.Leader {
		return true
	}
	now := c.g.leader()
	return now != "" && now != c.dead
}

// stand makes the replica a candidate unless another leader is known by now.
// When the term has risen or a candidate's question is here, an earlier voter's
// election is on its way: it gets more time.
func (c *crash) stand(term uint64) {
	r, trans := c.g.raft.Load(), c.g.trans.Load()
	if r == nil || trans == nil || r.State() != raft.Follower || c.settled(r) {
		return
	}
	if at := r.CurrentTerm(); at > term || !trans.Elect() {
		c.after(c.turn, at, c.stand)
		return
	}
	c.after(time.Duration(c.rank+1)*c.turn, term, c.retry)
}

// retry gives up a candidacy that came to nothing and stands anew.
func (c *crash) retry(term uint64) {
	r, trans := c.g.raft.Load(), c.g.trans.Load()
	if r == nil || trans == nil || c.settled(r) {
		return
	}
	at := r.CurrentTerm()
	switch {
	case r.State() != raft.Candidate:
		c.stand(at)
	case at > term+1 || !trans.ElectAgain(at):
		c.after(c.turn, at, c.retry)
	default:
		c.after(time.Duration(c.rank+1)*c.turn, at+1, c.retry)
	}
}

// outvoted is told that this replica refused its vote to a candidate with such a
// log. Where the refusal was for a log that is behind this one's, that candidate
// cannot win; the first of those who know stands, once it knows of the crash.
func (g *group) outvoted(term, logTerm, index uint64) {
	r := g.raft.Load()
	var last raft.Log
	if r == nil || g.logs.GetLog(r.LastIndex(), &last) != nil ||
		last.Term < logTerm || last.Term == logTerm && last.Index <= index {
		return
	}
	g.ahead.Store(mono.Now())
	if c := g.crash.Load(); c != nil && time.Since(c.at) < crashFor {
		c.after(time.Duration(max(c.rank-1, 0))*c.turn, term, c.stand)
	}
}

// electionRank is the place of self in the order in which the living voters of a
// group stand for election, −1 for none. Groups begin at different voters, which
// spreads the leaders.
func electionRank(voters []shard.NodeID, g shard.GroupID, dead, self shard.NodeID) int {
	alive := slices.DeleteFunc(slices.Clone(voters), func(id shard.NodeID) bool { return id == dead })
	i := slices.Index(alive, self)
	if i < 0 {
		return -1
	}
	n := len(alive)
	return (i - int(uint32(g))%n + n) % n
}
