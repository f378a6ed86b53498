package chat

import "time"

// EntryType says what an entry does. Numbers are stored and never reused.
type EntryType uint8

// The types of entries. Edit, Redact and React are reserved numbers that no
// command writes yet.
const (
	Created       EntryType = 1 // the conversation begins; always seq 1
	Message       EntryType = 2 // a text
	MemberAdded   EntryType = 3
	MemberRemoved EntryType = 4 // removed by someone, or left
	RoleChanged   EntryType = 5
	Edit          EntryType = 6
	Redact        EntryType = 7
	React         EntryType = 8
)

// Kind is the kind of a conversation.
type Kind uint8

// The kinds of conversations.
const (
	Direct  Kind = 1 // two people, fixed; the id is [DirectID]
	Group   Kind = 2 // up to the member limit; members only
	Channel Kind = 3 // owners and admins manage, members post, subscribed when opened
)

// Role is what a member may do.
type Role uint8

// The roles, each may do what those below it may. NoRole is no member.
const (
	NoRole Role = 0
	Reader Role = 1 // reads only
	Writer Role = 2 // appends messages
	Admin  Role = 3 // adds and removes members below admin
	Owner  Role = 4 // everything, including roles
)

// HistoryPolicy says what a member who joins later may read.
type HistoryPolicy uint8

// The policies for newcomers.
const (
	FromJoin   HistoryPolicy = 1 // from the entry that added them (the default)
	AllHistory HistoryPolicy = 2
)

// Change is what a membership entry says: of whom, and which role they have
// from that entry on (NoRole after a removal).
type Change struct {
	User UserID
	Role Role
}

// Body is all that a reader sees of an entry. Which fields may be set follows
// from the entry's type: Text and ContentType for a message; Changes for
// membership entries; Kind, Title, Policy, MembersMax and Changes (the first
// members) for the creation.
type Body struct {
	ContentType string // "" means text/plain
	Text        string
	Title       string
	Kind        Kind
	Policy      HistoryPolicy
	MembersMax  uint32 // how many members the conversation may have
	Changes     []Change
}

// Hash is a SHA-256 value.
type Hash = [32]byte

// Salt is 16 random bytes which the leader stamps into an entry, so that its
// leaf stays provable after the body is erased.
type Salt [16]byte

// Entry is one item of a conversation's log as readers get it.
type Entry struct {
	Conv     ConvID
	Seq      Seq
	MsgNo    MsgNo
	TimeMS   int64 // Unix milliseconds, never decreasing within a conversation
	Sender   UserID
	Device   DeviceID
	ClientID ClientID
	Type     EntryType
	Target   Seq // the entry that this one is about, 0 for none
	Salt     Salt
	Body     Body
}

// Ack answers an append: where the entry is, and the root of the conversation
// with it as the last leaf.
type Ack struct {
	Seq    Seq
	MsgNo  MsgNo
	TimeMS int64
	Root   Hash
	Dup    bool // the same message was appended before; this is its first place
}

// Member is one current member.
type Member struct {
	User UserID
	Role Role
	Seq  Seq // of the entry that added the user, or changed the role last
}

// Info is the head of a conversation as a member sees it.
type Info struct {
	Conv   ConvID
	Kind   Kind
	Title  string
	Policy HistoryPolicy
	Head   Seq
	MsgNo  MsgNo
	TimeMS int64 // of the newest entry
	Root   Hash  // over Head entries
	Role   Role  // of the member who asks

	MemberCount int
	Members     []Member // in the order of user ids, at most [InfoMembersMax]
}

// Limits. Each is a default that is part of the log's rules: a replica that
// applied another limit would diverge, so they change only with a level.
const (
	TextRunesMax      = 99_999
	TextBytesMax      = 400 << 10
	TitleBytesMax     = 256
	ContentTypeMax    = 64
	DirectMembers     = 2
	GroupMembersMax   = 500
	GroupMembersSoft  = 100 // the default limit of a new group
	ChannelMembersMax = 10_000
	MembersPerCommand = 100
	InfoMembersMax    = 500
	RejoinsMax        = 64 // times that a user may be added to one conversation
	PageEntriesMax    = 200
	PageBytesMax      = 1 << 20
	ClientIDMemory    = 7 * 24 * time.Hour // of log time
	ClientIDFutureMax = 24 * time.Hour     // an id from further ahead is refused
	UnackedPerConvMax = 32                 // sends in flight per device and conversation
)
