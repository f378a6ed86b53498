package fsm

import "github.com/chatnode/chatnode/chat"

// Level counts the releases of the log's rules. A group's level rises only by
// [RaiseLevel], proposed once every replica can read it.
type Level uint32

// The levels.
const (
	Level1   Level = 1 // the first release
	LevelMax       = Level1
)

// Tag is the number of a command in the envelope's oneof.
type Tag uint32

// The tags, and the range that each machine may use.
const (
	TagAppend        Tag = 1
	TagCreate        Tag = 2
	TagChangeMembers Tag = 3
	TagConvMax       Tag = 99 // 1..99 belong to fsm/conv

	TagMetaMin Tag = 100 // 100..199 belong to fsm/meta
	TagMetaMax Tag = 199

	TagRaiseLevel Tag = 200 // understood by every machine
)

// Limits of what is replicated.
const (
	CommandBytesMax  = 1 << 20 // one encoded command
	BatchCommandsMax = 512
	BatchBytesMax    = 1 << 20 // of a batch with more than one command
)

// Command is one of the structs below. The commands of the meta machine are
// that package's own; see [Split] and [Wrap].
type Command interface {
	// Tag is the number of the command.
	Tag() Tag
	appendBody(dst []byte) []byte
}

// Append appends one message to a conversation.
type Append struct {
	Conv        chat.ConvID
	Sender      chat.UserID
	Device      chat.DeviceID
	ClientID    chat.ClientID // required
	After       chat.ClientID // the sender's message that must be in the log; zero for none
	ContentType string
	Text        string
	Direct      chat.UserID // set: create the direct conversation with this peer if there is none
}

// Create begins a conversation. The creator becomes its owner (in a direct
// conversation both are writers) and need not be among Members.
type Create struct {
	Conv       chat.ConvID
	Kind       chat.Kind
	Title      string
	Policy     chat.HistoryPolicy // 0 means FromJoin
	Creator    chat.UserID
	Device     chat.DeviceID
	ClientID   chat.ClientID
	Members    []chat.Change
	MembersMax uint32 // 0 means the kind's default
}

// ChangeMembers adds, removes (NoRole) or gives another role to members. All
// changes of a command are of one sort. A member who removes itself leaves.
type ChangeMembers struct {
	Conv     chat.ConvID
	Actor    chat.UserID
	Device   chat.DeviceID
	ClientID chat.ClientID
	Changes  []chat.Change
}

// RaiseLevel lets the group use the commands and rules up to a level.
type RaiseLevel struct {
	To Level
}

// Tag implements [Command].
func (Append) Tag() Tag { return TagAppend }

// Tag implements [Command].
func (Create) Tag() Tag { return TagCreate }

// Tag implements [Command].
func (ChangeMembers) Tag() Tag { return TagChangeMembers }

// Tag implements [Command].
func (RaiseLevel) Tag() Tag { return TagRaiseLevel }

// LevelOf is the level at which a tag came into the log.
func LevelOf(Tag) Level { return Level1 }
