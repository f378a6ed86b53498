package raftgroup

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
)

// ErrAmbiguous is wrapped by the error of a proposal that may or may not be in
// the log. Proposing the same bytes again is safe, since they carry the client's
// id.
var ErrAmbiguous = errors.New("the outcome is not known")

const busyRetry = 20 * time.Millisecond

var (
	errNotLeader = chat.E("propose", chat.NotLeader, "another replica leads the group", nil)
	errLost      = chat.E("propose", chat.Unavailable, "leadership was lost; it may have been appended: retry with the same id", ErrAmbiguous)
	errBusy      = &chat.Error{Op: "propose", Code: chat.Busy, Msg: "too many proposals wait for the group", RetryAfter: busyRetry}
	errTooLarge  = chat.E("propose", chat.TooLarge, "the command is over the limit of an entry", nil)
	errNoGroup   = chat.E("raft group", chat.NotLeader, "this node has no replica of the group", nil)
	errStopping  = chat.E("raft group", chat.NotLeader, "the replica is stopping", nil)
	errOutcome   = errors.New("an entry with other results than commands")
	errReadLost  = chat.E("read", chat.NotLeader, "no quorum confirmed the leadership", nil)
	errReadBusy  = &chat.Error{Op: "read", Code: chat.Busy, Msg: "too many reads wait for the group", RetryAfter: busyRetry}
)

// proposeError sorts what Raft says of an entry: in no log, or not known.
func proposeError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return errNotLeader
	case errors.Is(err, raft.ErrLeadershipLost):
		return errLost
	default:
		return chat.E("propose", chat.Unavailable, "it may have been appended: retry with the same id", errors.Join(ErrAmbiguous, err))
	}
}
