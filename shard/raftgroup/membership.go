package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

const (
	caughtUpLag    = 64 // entries behind which a replica may still be promoted
	catchUpPoll    = 25 * time.Millisecond
	transferTries  = 4
	transferPause  = 50 * time.Millisecond
	drainLimit     = 250 * time.Millisecond // for entries in flight before a transfer
	changeDeadline = 10 * time.Second
)

// change runs one change of the configuration. They go one at a time: here by
// the group's turn, and in Raft, which takes none while one is not committed.
// fn gives no future when there is nothing to change, or an error when it must not be.
func (h *Host) change(ctx context.Context, g shard.GroupID, op string, fn func(r *raft.Raft, servers []raft.Server) (raft.IndexFuture, error)) error {
	gr := h.group(g)
	if gr == nil {
		return errNoGroup
	}
	gone, r := gr.gone.Load(), gr.raft.Load()
	if r == nil || !gr.leads() {
		return chat.E(op, chat.NotLeader, "ask the leader of the group", nil)
	}
	ctx, cancel := context.WithTimeout(ctx, changeDeadline)
	defer cancel()
	select {
	case gr.changing <- struct{}{}:
		defer func() { <-gr.changing }()
	case <-ctx.Done():
		return chat.E(op, chat.Timeout, "another change is not done", context.Cause(ctx))
	}
	f, err := fn(r, r.GetConfiguration().Configuration().Servers)
	if f == nil {
		return err
	}
	err = waitFuture(ctx, endWith(f, *gone))
	switch {
	case err == nil:
		gr.log.Info("membership changed", "op", op, "index", f.Index())
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return chat.E(op, chat.NotLeader, "ask the leader of the group", err)
	default:
		return chat.E(op, chat.Unavailable, "the outcome is not known: look at the configuration", errors.Join(ErrAmbiguous, err))
	}
}

func find(servers []raft.Server, id shard.NodeID) (raft.Server, bool) {
	for _, s := range servers {
		if s.ID == raft.ServerID(id) {
			return s, true
		}
	}
	return raft.Server{}, false
}

// AddNonvoter adds a replica that takes the log and does not vote. A member is
// left as it is.
func (h *Host) AddNonvoter(ctx context.Context, g shard.GroupID, id shard.NodeID) error {
	if !shard.ValidNodeID(id) {
		return chat.E("add replica", chat.Invalid, "not a node id", nil)
	}
	return h.change(ctx, g, "add replica", func(r *raft.Raft, servers []raft.Server) (raft.IndexFuture, error) {
		if _, ok := find(servers, id); ok {
			return nil, nil
		}
		return r.AddNonvoter(raft.ServerID(id), raft.ServerAddress(id), 0, changeDeadline), nil
	})
}

var errNotThere = chat.E("promote replica", chat.NotMember, "add it first", nil)

// Promote waits until a replica has caught up and makes it a voter.
func (h *Host) Promote(ctx context.Context, g shard.GroupID, id shard.NodeID) error {
	if err := h.awaitCaughtUp(ctx, g, id); err != nil {
		return err
	}
	return h.change(ctx, g, "promote replica", func(r *raft.Raft, servers []raft.Server) (raft.IndexFuture, error) {
		switch s, ok := find(servers, id); {
		case !ok: // removed since it had caught up: it would come back
			return nil, errNotThere
		case s.Suffrage == raft.Voter:
			return nil, nil
		}
		return r.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, changeDeadline), nil
	})
}

func (h *Host) awaitCaughtUp(ctx context.Context, g shard.GroupID, id shard.NodeID) error {
	tick := time.NewTicker(catchUpPoll)
	defer tick.Stop()
	for {
		gr := h.group(g)
		if gr == nil || !gr.leads() {
			return chat.E("promote replica", chat.NotLeader, "ask the leader of the group", nil)
		}
		r, trans := gr.raft.Load(), gr.trans.Load()
		if r != nil && trans != nil {
			if _, ok := find(r.GetConfiguration().Configuration().Servers, id); !ok {
				return errNotThere
			}
			p := trans.Progress(id)
			if time.Since(p.Contact) < 2*h.cfg.Heartbeat && p.Match > 0 && p.Match+caughtUpLag >= r.CommitIndex() {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return chat.E("promote replica", chat.Timeout, "it has not caught up", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// RemoveServer takes a replica out of the configuration. A leader that is to be
// removed gives the leadership away and answers not_leader: ask the next one.
func (h *Host) RemoveServer(ctx context.Context, g shard.GroupID, id shard.NodeID) error {
	if id == h.deps.NodeID && h.IsLeader(g) {
		if err := h.TransferLeadership(ctx, g, ""); err != nil {
			return err
		}
		return chat.E("remove replica", chat.NotLeader, "the leadership has moved: ask the new leader", nil)
	}
	return h.change(ctx, g, "remove replica", func(r *raft.Raft, servers []raft.Server) (raft.IndexFuture, error) {
		if _, ok := find(servers, id); !ok {
			return nil, nil
		}
		return r.RemoveServer(raft.ServerID(id), 0, changeDeadline), nil
	})
}

// giveUpAll moves every leadership away, one after another.
func (h *Host) giveUpAll(ctx context.Context) {
	for _, g := range h.Groups() {
		gr := h.group(g)
		if gr == nil {
			continue
		}
		if r := gr.raft.Load(); r == nil || r.State() != raft.Leader || len(voters(r.GetConfiguration().Configuration())) < 2 {
			continue
		}
		if err := h.TransferLeadership(ctx, g, ""); err != nil && chat.CodeOf(err) != chat.NotLeader {
			h.log.Warn("cannot give the leadership away", "group", uint32(g), "err", fmt.Sprint(err))
		}
	}
}

// abandonAll asks another voter of every group that this node leads to stand for
// election. It is for a disk that is slow or hangs: a transfer by Raft would
// wait until the other one's entries are acknowledged, which wait for this disk.
func (h *Host) abandonAll() {
	var wg sync.WaitGroup
	for _, id := range h.Groups() {
		g := h.group(id)
		if g == nil {
			continue
		}
		r, trans := g.raft.Load(), g.trans.Load()
		if r == nil || trans == nil || r.State() != raft.Leader {
			continue
		}
		to := g.successor(r)
		if to == "" {
			continue
		}
		wg.Go(func() {
			err := trans.TimeoutNow(raft.ServerID(to), raft.ServerAddress(to), nil, new(raft.TimeoutNowResponse))
			if err != nil && h.ctx.Err() == nil {
				g.log.Warn("cannot give the leadership away", "to", string(to), "err", err)
			}
		})
	}
	wg.Wait()
}
