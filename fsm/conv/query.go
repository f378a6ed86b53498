package conv

import "github.com/chatnode/chatnode/chat"

// Mode says which entries of a conversation a page is about.
type Mode uint8

// The modes. A page is in ascending order in each.
const (
	Latest Mode = 0 // the newest
	Before Mode = 1 // the newest below Query.Seq
	After  Mode = 2 // the oldest above Query.Seq
	Around Mode = 3 // Query.Seq and its neighbours on both sides
)

// Query asks for a page of a conversation.
type Query struct {
	Conv  chat.ConvID
	User  chat.UserID // who reads; the page is cut by this user's intervals
	All   bool        // no cut: the service itself reads, and filters later
	Mode  Mode
	Seq   chat.Seq
	Limit int // 0 means the most, chat.PageEntriesMax
	Bytes int // of stored entries, 0 means the most, chat.PageBytesMax; one entry is always returned
}

// Page is a run of entries in ascending order. Between two neighbours there are
// no entries that the reader may see.
type Page struct {
	Conv    chat.ConvID
	Entries []chat.Entry
	Head    chat.Seq   // the newest entry that the reader may see
	MsgNo   chat.MsgNo // of that entry
	Before  bool       // there are visible entries before the first of these
	After   bool       // there are visible entries after the last of these
	Visible []Interval // the parts of the history that the reader may see, ascending
}

// Grows reports whether the reader may see what will be appended: whether he is
// a member now.
func (p *Page) Grows() bool {
	n := len(p.Visible)
	return n > 0 && p.Visible[n-1].To == 0
}

// Interval is a part of a conversation's history, both ends included.
type Interval struct {
	From chat.Seq
	To   chat.Seq // 0 while it is open
}

// Contains reports whether seq is in the interval.
func (i Interval) Contains(seq chat.Seq) bool {
	return seq >= i.From && (i.To == 0 || seq <= i.To)
}

// Access is what a user may do in a conversation and see of it.
type Access struct {
	Role      chat.Role // NoRole for a former member
	Intervals []Interval
}

// Sees reports whether the user may see the entry seq.
func (a Access) Sees(seq chat.Seq) bool {
	for _, i := range a.Intervals {
		if i.Contains(seq) {
			return true
		}
	}
	return false
}

// HeadInfo is the newest entry of a conversation.
type HeadInfo struct {
	Seq    chat.Seq
	MsgNo  chat.MsgNo
	TimeMS int64
}

// ProofQuery asks for proofs about the tree of a conversation's first Size
// entries.
type ProofQuery struct {
	Conv    chat.ConvID
	User    chat.UserID
	All     bool
	Size    chat.Seq // 0 means all that the reader may see
	Seq     chat.Seq // not 0: prove that this entry is in it
	OldSize chat.Seq // not 0: prove that the tree of that size is a prefix of it
}

// Proof holds the hashes that package merkle verifies. The leaf of entry seq has
// the index seq-1.
type Proof struct {
	Conv        chat.ConvID
	Size        chat.Seq
	Root        chat.Hash
	Seq         chat.Seq
	Leaf        chat.Hash
	Inclusion   []chat.Hash
	OldSize     chat.Seq
	OldRoot     chat.Hash
	Consistency []chat.Hash
}
