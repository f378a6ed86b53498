package fanout

import (
	"context"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// Receiver takes what a conversation's leader appends. Its methods must not
// block and must not keep the entry's slices beyond the call unless they treat
// them as read-only.
type Receiver interface {
	// Deliver brings one entry. Entries of one conversation come in ascending
	// order while the attachment lasts; some may be missing after a Gap.
	Deliver(e *chat.Entry)
	// Gap says that entries of conv may have been left out before the next one
	// that is delivered.
	Gap(conv chat.ConvID)
	// Lost says that the attachment of conv has ended on its own (the node no
	// longer leads it, or the stream broke).
	Lost(conv chat.ConvID)
}

// Feed attaches a receiver to conversations led by one node. The local [Bus] is
// one; a stream to another node is one.
type Feed interface {
	// Attach begins delivery of conv to r. It does not wait for the answer; a
	// feed that cannot attach calls r.Lost. attached, when not nil, is called once
	// deliveries have begun: an entry appended after that is delivered.
	Attach(conv chat.ConvID, r Receiver, attached func())
	// Detach ends it. Deliveries already on their way may still come.
	Detach(conv chat.ConvID, r Receiver)
}

// Leaders says where conversations are led.
type Leaders interface {
	// LeaderOf gives the node that leads conv's group, or ok false while nobody is
	// known to.
	LeaderOf(conv chat.ConvID) (node shard.NodeID, ok bool)
	// Watch calls changed, which must not block, after any leader changed. stop
	// ends it.
	Watch(changed func()) (stop func())
}

// Feeds gives the feed of a node, this one's or another's. It may be asked for
// at any time and does not wait for a connection.
type Feeds func(node shard.NodeID) Feed

// Log reads what a feed has not brought. Entries come unfiltered by any
// user's access, ascending, with seq > after, at most limit; head is the
// conversation's newest seq.
type Log interface {
	ReadAfter(ctx context.Context, conv chat.ConvID, after chat.Seq, limit int) (entries []chat.Entry, head chat.Seq, err error)
}
