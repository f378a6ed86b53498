package wire

import "github.com/chatnode/chatnode/chat"

// Type is the type of a frame. Zero is a type that nobody knows.
type Type uint8

// The types of client frames, then those of node frames. Info and Proof are
// the names of both a request and its answer.
const (
	Unknown Type = iota
	Hello
	Create
	Send
	Members
	Subscribe
	Unsubscribe
	History
	Info
	Proof
	Ping

	Welcome
	Ack
	Error
	Entries
	Page
	Subscribed
	Unsubscribed
	Pong
	Bye
)

var typeNames = [...]string{
	Unknown: "", Hello: "hello", Create: "create", Send: "send", Members: "members", Subscribe: "subscribe",
	Unsubscribe: "unsubscribe", History: "history", Info: "info", Proof: "proof", Ping: "ping",
	Welcome: "welcome", Ack: "ack", Error: "error", Entries: "entries", Page: "page",
	Subscribed: "subscribed", Unsubscribed: "unsubscribed", Pong: "pong", Bye: "bye",
}

// String gives the name that stands in a frame.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return ""
}

// Level says how fresh a read must be.
type Level uint8

// The levels of reading. The zero value is the default.
const (
	Linearizable Level = iota // as of now: the leader, confirmed by a quorum
	Leader                    // the leader without a round
	Stale                     // any replica
)

var levelNames = [...]string{"linearizable", "leader", "stale"}

// String gives the name that stands in a frame.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return ""
}

// ParseLevel reads the name of a level; "" is the default.
func ParseLevel(s string) (Level, bool) {
	if s == "" {
		return Linearizable, true
	}
	for i, n := range levelNames {
		if n == s {
			return Level(i), true
		}
	}
	return 0, false
}

// Request is one client frame. Which fields count follows from Type; has tells
// apart what was given as zero from what was not given.
//
// Strings of a decoded request point into the text of its frame: keep a clone,
// not the string, of what outlives the frame.
type Request struct {
	Type Type
	Ref  uint64 // 0 for none
	Conv chat.ConvID

	// create, send, members
	ID          chat.ClientID
	After       chat.ClientID // send
	To          chat.UserID   // create (direct), send
	Text        string
	ContentType string
	Kind        chat.Kind
	Title       string
	Policy      chat.HistoryPolicy // 0 for the default
	MembersMax  uint64             // 0 for the default
	Changes     []chat.Change      // "members" of create, "changes" of members

	// hello
	Token   string
	Device  chat.DeviceID
	Version uint64

	// subscribe, history, proof
	From     chat.Seq // 0 for not given
	Page     Direction
	At       chat.Seq // of Page
	Limit    uint64   // 0 for the most
	Level    Level
	MinSeq   chat.Seq
	Seq      chat.Seq // proof of inclusion
	Size     chat.Seq // 0 for the head
	FromSize chat.Seq // proof of consistency

	has fieldSet
}

// Direction says where a page lies.
type Direction uint8

// The directions of a page.
const (
	Newest Direction = iota
	Before           // entries with a seq below At
	After            // above At
	Around           // on both sides of At, with it
)

// Reply is one node frame. Which fields count follows from Type. Strings of a
// decoded reply point into the text of its frame.
type Reply struct {
	Type Type
	Ref  uint64 // 0 for none
	Conv chat.ConvID

	Ack chat.Ack // ack

	Code         chat.Code // error, unsubscribed, bye
	Message      string
	RetryAfterMS uint64
	Resume       []Cursor // bye

	Entries []chat.Entry // entries, page: Conv of each is set
	Head    chat.Seq     // entries, page, subscribed
	From    chat.Seq     // subscribed
	More    bool         // page

	Info   chat.Info   // info
	Proof  ProofReply  // proof
	Hello  WelcomeBody // welcome
	TimeMS int64       // pong
}

// Cursor is the last seq that was handed to a connection.
type Cursor struct {
	Conv chat.ConvID
	Seq  chat.Seq
}

// ProofReply proves that the entry Seq with the hash Leaf is in the tree of
// Size entries with the hash Root, or (Seq is 0) that the tree of FromSize
// entries with the hash FromRoot is a prefix of it.
type ProofReply struct {
	Conv     chat.ConvID
	Seq      chat.Seq
	Size     chat.Seq
	Leaf     chat.Hash
	Root     chat.Hash
	FromSize chat.Seq
	FromRoot chat.Hash
	Path     []chat.Hash
}

// WelcomeBody is what a welcome says.
type WelcomeBody struct {
	User      chat.UserID
	Device    chat.DeviceID
	Session   string
	Node      string
	Version   uint64
	TimeMS    int64
	ExpiresMS int64
	Limits    Limits
}

// Limits are what a client may count on.
type Limits struct {
	FrameBytes        uint64
	FrameObjects      uint64
	TextBytes         uint64
	TextRunes         uint64
	Unacked           uint64
	Subscriptions     uint64
	PageEntries       uint64
	PageBytes         uint64
	MembersPerCommand uint64
}
