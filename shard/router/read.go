package router

import (
	"context"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/wire"
)

// Read serves a read: at the leader, or for a stale one at the nearest replica.
// It tries again over leader changes until ctx ends, at most Config.Deadline.
func (r *Router) Read(ctx context.Context, q *Request) (Answer, error) {
	g, err := r.readGroup(q)
	if err != nil {
		return Answer{}, err
	}
	if r.reads.Add(1) > int64(r.cfg.ReadsMax) {
		r.reads.Add(-1)
		return Answer{}, r.errBusy("read")
	}
	defer r.reads.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Deadline)
	defer cancel()
	if q.Level == wire.Stale {
		if a, served, err := r.readOwn(g, q); served {
			return a, err
		}
	}
	var encoded []byte
	backoff := backoffLeast
	for try := 0; ; try++ {
		node := r.readNode(g, q, try)
		if node != "" {
			if node != r.deps.Self && encoded == nil {
				encoded = q.Append(nil)
			}
			a, err := r.readAt(ctx, node, g, q, encoded)
			if err != nil && ctx.Err() != nil {
				return Answer{}, ctxError(ctx, "read")
			}
			if err == nil || !r.readAgain(g, node, err) {
				return a, err
			}
		}
		if err := r.pauseRead(ctx, backoff); err != nil {
			return Answer{}, err
		}
		backoff = min(2*backoff, r.cfg.BackoffMax)
	}
}

func (r *Router) readGroup(q *Request) (shard.GroupID, error) {
	if q.Kind == ReadMap {
		return shard.Meta, nil
	}
	if !chat.ValidID(string(q.Conv)) {
		return 0, chat.E("read", chat.Invalid, "malformed conversation id", nil)
	}
	return r.GroupOf(string(q.Conv))
}

// readNode is the node to try: the leader, or any replica for a stale read.
func (r *Router) readNode(g shard.GroupID, q *Request, try int) shard.NodeID {
	if q.Level == wire.Stale && try%2 == 1 {
		if n := r.groups[g].guessed(true); n != "" {
			return n
		}
	}
	return r.groups[g].resolve(mono.Now())
}

// readOwn serves a stale read from the own replica, if there is one.
func (r *Router) readOwn(g shard.GroupID, q *Request) (a Answer, served bool, err error) {
	m := r.m.Load()
	if m == nil {
		return a, false, nil
	}
	row, ok := m.Group(g)
	if !ok || !row.Has(r.deps.Self) {
		return a, false, nil
	}
	v, err := r.deps.Local.View(g)
	if err != nil {
		return a, false, nil // not started yet, or being replaced: ask others
	}
	defer v.Close() //nolint:errcheck // a view holds nothing that could be lost
	a, err = execute(v, g, q)
	return a, true, err
}

func (r *Router) readAt(ctx context.Context, node shard.NodeID, g shard.GroupID, q *Request, encoded []byte) (Answer, error) {
	if node == r.deps.Self {
		v, err := r.confirmed(ctx, g, q.Level)
		if err != nil {
			return Answer{}, err
		}
		defer v.Close() //nolint:errcheck // a view holds nothing that could be lost
		return execute(v, g, q)
	}
	b, err := r.deps.Remote.Read(ctx, node, g, encoded)
	if err != nil {
		return Answer{}, err
	}
	return decodeAnswer(q.Kind, b)
}

// confirmed gives a view that is as fresh as level asks.
func (r *Router) confirmed(ctx context.Context, g shard.GroupID, level wire.Level) (View, error) {
	switch level {
	case wire.Linearizable:
		if err := r.deps.Local.ReadIndex(ctx, g); err != nil {
			return nil, err
		}
	case wire.Leader:
		if !r.deps.Local.IsLeader(g) {
			node, _ := r.deps.Local.Leader(g)
			return nil, MovedTo(node)
		}
	}
	return r.deps.Local.View(g)
}

// readAgain reports whether a read's error may pass elsewhere or later.
func (r *Router) readAgain(g shard.GroupID, node shard.NodeID, err error) bool {
	switch chat.CodeOf(err) {
	case chat.Moved, chat.NotLeader:
		count(r.deps.Metrics.Moved)
		if hint, ok := HintOf(err); ok && hint != node {
			r.groups[g].learn(hint)
		}
		return true
	case chat.Unavailable, chat.ShuttingDn:
		return true
	}
	return false
}

func (r *Router) pauseRead(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctxError(ctx, "read")
	case <-r.stop:
		return errStopping()
	case <-t.C:
		return nil
	}
}
