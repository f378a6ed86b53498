package session

import (
	"context"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
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
	Propose(conv chat.ConvID, cmd []byte, deadline time.Time, done func(fsm.Result, error))

	// Page reads entries as user may see them.
	Page(ctx context.Context, user chat.UserID, q Query) (Page, error)
	// Info reads the head and the members, for a member.
	Info(ctx context.Context, user chat.UserID, conv chat.ConvID, f Freshness) (chat.Info, error)
	// Proof proves an entry (Seq) or a prefix (FromSize) to a member.
	Proof(ctx context.Context, user chat.UserID, q ProofQuery) (wire.ProofReply, error)
}

// Freshness says how current the state must be that a read sees.
type Freshness struct {
	Level  wire.Level
	MinSeq chat.Seq // a replica behind it answers behind; 0 for any
}

// Query asks for one page of a conversation.
type Query struct {
	Conv      chat.ConvID
	Direction wire.Direction
	At        chat.Seq
	Limit     int // 1 to chat.PageEntriesMax
	Fresh     Freshness
}

// Page is an ascending run of entries without gaps but for those that the user
// may not see.
type Page struct {
	Entries []chat.Entry
	Head    chat.Seq // of the conversation when the page was read
	More    bool     // cut by a limit: there is more in the direction of reading
	// Through is the seq up to which the page covers the log when reading
	// After: entries at or below it that are not in the page are hidden from
	// the user. Zero where nothing is covered.
	Through chat.Seq
	// Removed is true when the user is no member at Head: nothing above
	// Through will ever come, unless the user is added again.
	Removed bool
}

// ProofQuery asks for the proof of one entry (Seq) or of a prefix (FromSize) in
// the tree of Size entries, 0 for the head.
type ProofQuery struct {
	Conv     chat.ConvID
	Seq      chat.Seq
	FromSize chat.Seq
	Size     chat.Seq
	Fresh    Freshness
}
