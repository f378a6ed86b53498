package session

import (
	"context"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/wire"
)

// Backend is the replicated log as a front-end sees it: any node's router.
// Every method may be called from many goroutines.
type Backend interface {
	// Propose hands an encoded command of the conversation to its group's
	// leader and retries the same bytes over leader changes until the deadline.
	// It never blocks. done is called exactly once, perhaps before Propose
	// returns, on a goroutine that it must not hold up. cmd belongs to the
	// backend from then on.
	Propose(key chat.ConvID, cmd []byte, deadline time.Time, done func(fsm.Result, error))

	// Page reads entries as q.User may see them.
	Page(ctx context.Context, q conv.Query, f Freshness) (conv.Page, error)
	// Info reads the head and the members, for a member.
	Info(ctx context.Context, id chat.ConvID, user chat.UserID, f Freshness) (chat.Info, error)
	// Proof proves an entry or a prefix to a member.
	Proof(ctx context.Context, q conv.ProofQuery, f Freshness) (conv.Proof, error)
}

// Freshness says how current the state must be that a read sees.
type Freshness struct {
	Level  wire.Level
	MinSeq chat.Seq // a replica that has not reached it answers behind; 0 for any
}

// Tail is the live end of one conversation, shared by all that have it open.
// Its methods take no lock that is held while entries are read.
type Tail interface {
	// HeadFor is the newest seq known, 0 while none is, but not beyond the entry
	// above after and since that removes user.
	HeadFor(after, since chat.Seq, user chat.UserID) chat.Seq
	// Append appends the JSON of the entries above after, with commas between,
	// up to about bytesMax. It stops behind an entry above since that removes
	// user (cut). ok is false when the entry after+1 has left the tail, or is
	// not in it yet while newer ones are known to exist: then the log has it.
	Append(dst []byte, after, since chat.Seq, user chat.UserID, bytesMax int) (out []byte, last chat.Seq, cut, ok bool)
	// Close ends the interest. The function given at Open may be called once
	// more while Close runs, not after it.
	Close()
}

// Tails opens tails. moved is called whenever the head has moved; it must not
// block and not call the tail.
type Tails func(id chat.ConvID, moved func()) Tail
