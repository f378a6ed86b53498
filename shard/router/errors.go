package router

import (
	"context"
	"errors"
	"fmt"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// leaderHint is the cause within a moved error: who leads now.
type leaderHint shard.NodeID

func (h leaderHint) Error() string { return fmt.Sprintf("node %s leads", string(h)) }

// MovedTo is the refusal of a node that does not lead: nothing was appended.
// With an empty leader it is not_leader.
func MovedTo(leader shard.NodeID) error {
	if leader == "" {
		return chat.E("route", chat.NotLeader, "no leader is known", nil)
	}
	return chat.E("route", chat.Moved, "", leaderHint(leader))
}

// HintOf is the leader that a moved error names.
func HintOf(err error) (shard.NodeID, bool) {
	if h, ok := errors.AsType[leaderHint](err); ok {
		return shard.NodeID(h), true
	}
	return "", false
}

// verdict is what an attempt's error means for its proposal.
type verdict uint8

const (
	final     verdict = iota // refused for good, not appended
	again                    // not appended, another attempt may succeed
	ambiguous                // may have been appended; another attempt tells
	refused                  // not appended by this attempt, and not worth another
)

func judge(err error) verdict {
	switch chat.CodeOf(err) {
	case chat.Moved, chat.NotLeader:
		return again
	case chat.Busy, chat.DiskFull, chat.RateLimited:
		return refused
	case chat.Unavailable, chat.ShuttingDn, chat.Internal, chat.Timeout, chat.Canceled:
		return ambiguous
	default:
		return final
	}
}

func errUnavailable(maybe bool) error {
	msg := "no leader answered in time; nothing was appended"
	if maybe {
		msg = "no answer in time; it may have been appended: send it again with the same id"
	}
	return chat.E("propose", chat.Unavailable, msg, nil)
}

func (r *Router) errBusy(op string) error {
	count(r.deps.Metrics.Busy)
	e := chat.E(op, chat.Busy, "this node has as many requests in flight as it takes", nil)
	e.RetryAfter = r.cfg.BusyRetry
	return e
}

func ctxError(ctx context.Context, op string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return chat.E(op, chat.Canceled, "", ctx.Err())
	}
	return chat.E(op, chat.Timeout, "no answer in time", ctx.Err())
}

func errStopping() error {
	return chat.E("route", chat.ShuttingDn, "this node is stopping", nil)
}
