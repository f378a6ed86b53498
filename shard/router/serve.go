package router

import (
	"context"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/shard"
)

// ServePropose takes a proposal that another node sent here. It is checked
// before it may reach a log, and proposed here or refused with the leader's
// name. cmd must stay unchanged. done is called exactly once.
func (r *Router) ServePropose(g shard.GroupID, cmd []byte, done func(fsm.Result, error)) {
	if err := r.checkCommand(g, cmd); err != nil {
		done(fsm.Result{}, err)
		return
	}
	if !r.deps.Local.IsLeader(g) {
		done(fsm.Result{}, r.moved(g))
		return
	}
	r.deps.Local.Propose(g, cmd, done)
}

// ServeRead serves an encoded [Request] that another node sent here and appends
// the answer to dst.
func (r *Router) ServeRead(ctx context.Context, g shard.GroupID, req, dst []byte) ([]byte, error) {
	q, err := DecodeRequest(req)
	if err != nil {
		return dst, chat.E("read", chat.Invalid, "malformed request", err)
	}
	if want, err := r.readGroup(&q); err != nil || want != g {
		return dst, chat.E("read", chat.Moved, "the key is in another group", err)
	}
	v, err := r.confirmed(ctx, g, q.Level)
	if err != nil {
		return dst, err
	}
	defer v.Close() //nolint:errcheck // a view holds nothing that could be lost
	return appendAnswer(dst, v, g, &q)
}

// Refused gives a local refusal the leader's name, for the node that asked.
func (r *Router) Refused(g shard.GroupID, err error) error {
	if code := chat.CodeOf(err); code != chat.Moved && code != chat.NotLeader {
		return err
	}
	if _, ok := HintOf(err); ok {
		return err
	}
	return r.moved(g)
}

func (r *Router) moved(g shard.GroupID) error {
	node, _ := r.deps.Local.Leader(g)
	if node == r.deps.Self {
		node = "" // not ready to lead, or no longer
	}
	return MovedTo(node)
}

// checkCommand refuses what must not reach the group's log: a command that is
// malformed, unknown, or of another group by this node's map.
func (r *Router) checkCommand(g shard.GroupID, cmd []byte) error {
	if g == shard.Meta {
		return meta.CheckCommand(cmd)
	}
	if err := fsm.CheckCommand(cmd); err != nil {
		return err
	}
	key, err := fsm.KeyOf(cmd)
	if err != nil {
		return err
	}
	if key == "" {
		return nil // about the whole group
	}
	if own, err := r.GroupOf(key); err != nil {
		return err
	} else if own != g {
		return MovedTo("")
	}
	return nil
}
