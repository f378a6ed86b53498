package raftgroup

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

// PeerStatus is a member of a group as the local replica sees it.
type PeerStatus struct {
	ID        shard.NodeID
	Voter     bool
	Match     uint64        // last entry it has; known to the leader only
	Lag       uint64        // entries behind the leader's last; known to the leader only
	Contact   time.Duration // since its last answer; 0 when unknown
	Connected bool
}

// GroupStatus is a sample of the local replica.
type GroupStatus struct {
	Group      shard.GroupID
	State      string // "leader", "follower", "candidate", "stopped"
	Leader     shard.NodeID
	Term       uint64
	First      uint64 // of the log
	Last       uint64
	Durable    uint64
	Commit     uint64
	Applied    uint64 // with the entries after it that no machine sees
	LogBytes   int64  // of entries, as far as this process wrote them
	Queued     int    // commands that wait for the proposer
	QueueBytes int
	Ready      bool // leads and takes proposals and reads
	Settled    bool // Peers is the committed configuration, as far as a ready leader knows
	Peers      []PeerStatus
}

// Status samples the local replica of g; ok is false when there is none.
func (h *Host) Status(g shard.GroupID) (s GroupStatus, ok bool) {
	gr := h.group(g)
	if gr == nil {
		return GroupStatus{}, false
	}
	s = GroupStatus{
		Group: g, State: "stopped", Leader: gr.leader(), Ready: gr.leads(),
		First: gr.logs.log.FirstIndex(), Last: gr.logs.log.LastIndex(), Durable: gr.logs.log.DurableIndex(),
		Applied: gr.machine.applied.Load(),
	}
	s.LogBytes, _ = gr.logs.size.held()
	s.Queued, s.QueueBytes = gr.proposer.depth()
	r, trans := gr.raft.Load(), gr.trans.Load()
	if r == nil || trans == nil {
		return s, true
	}
	s.Term, s.Commit = r.CurrentTerm(), r.CommitIndex()
	switch r.State() {
	case raft.Leader:
		s.State = "leader"
	case raft.Candidate:
		s.State = "candidate"
	case raft.Follower:
		s.State = "follower"
	}
	s.Last = max(s.Last, r.LastIndex())
	s.Applied = gr.logs.skipSilent(s.Applied, r.AppliedIndex())
	for _, m := range r.GetConfiguration().Configuration().Servers {
		p := PeerStatus{ID: shard.NodeID(m.ID), Voter: m.Suffrage == raft.Voter, Connected: true}
		switch {
		case m.ID == h.id:
			p.Match = s.Last
		case s.State == "leader":
			w := trans.Progress(p.ID)
			p.Match, p.Lag = w.Match, s.Last-min(s.Last, w.Match)
			if !w.Contact.IsZero() {
				p.Contact = time.Since(w.Contact)
			}
			p.Connected = h.hub.Connected(p.ID)
		}
		s.Peers = append(s.Peers, p)
	}
	// In this order, or one that was appended meanwhile would pass for committed. All
	// that earlier leaders appended is committed when a leader is ready.
	changed := gr.logs.changed.Load()
	s.Settled = changed <= r.CommitIndex()
	return s, true
}

// Configuration lists the members of g, as the local replica knows them.
func (h *Host) Configuration(g shard.GroupID) ([]Server, error) {
	gr := h.group(g)
	if gr == nil {
		return nil, errNoGroup
	}
	r := gr.raft.Load()
	if r == nil {
		return nil, errStopping
	}
	var out []Server
	for _, s := range r.GetConfiguration().Configuration().Servers {
		out = append(out, Server{ID: shard.NodeID(s.ID), Voter: s.Suffrage == raft.Voter})
	}
	slices.SortFunc(out, func(a, b Server) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out, nil
}
