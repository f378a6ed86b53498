package fsm

import "github.com/chatnode/chatnode/chat"

// Reader is a view of the group's rows. Keys carry the group's prefix.
type Reader interface {
	// Get returns the value of key. The value is valid until the next call on
	// this Reader and must not be changed.
	Get(key []byte) (val []byte, ok bool, err error)
	// Scan visits the keys in [lower, upper) in ascending order, or descending
	// when reverse is set, until fn returns false or an error. k and v are valid
	// within fn only. fn may not call the Reader.
	Scan(lower, upper []byte, reverse bool, fn func(k, v []byte) (more bool, err error)) error
}

// Writer is a transaction. It sees its own writes. Set and Delete copy what
// they are given.
type Writer interface {
	Reader
	Set(key, val []byte) error
	Delete(key []byte) error
}

// Machine is one group's replicated state machine. Its methods are called from
// one goroutine, except Fingerprint, which uses nothing but its Reader.
//
// A machine keeps what it read and wrote in memory: when the rows that it was
// given do not become the state (a failed or dropped transaction), Reset must
// be called before the next Apply.
type Machine interface {
	// Apply applies the payload of one Raft entry (a batch) and appends one
	// Result per command, in order, to dst. An error halts the group.
	Apply(w Writer, index uint64, payload []byte, dst []Result) ([]Result, error)
	// Replay is Apply where nobody waits for an answer, as on followers: the
	// same state without the results, and cheaper.
	Replay(w Writer, index uint64, payload []byte) error
	// SetSink attaches the receiver of events, or detaches it with nil. It is
	// called from the goroutine that calls Apply.
	SetSink(s Sink)
	// Reset forgets everything in memory: the rows were replaced.
	Reset()
	// Fingerprint is a hash of the whole logical state, equal on all replicas
	// at the same index whatever group prefix and caches they have.
	Fingerprint(r Reader) (chat.Hash, error)
}

// Sink receives what happened, in order, on the replica that leads. It may not
// block. Restart re-emits nothing: events are a hint, the rows are the truth.
type Sink interface {
	// Appended tells of a new entry. The sink may keep e but not change it; the
	// members are valid within the call only.
	Appended(e *chat.Entry, members MemberView)
}

// Listener is a [Sink] that can say beforehand whether an entry would be of use.
// Of a conversation that it does not listen to, nothing is built nor told.
type Listener interface {
	Sink
	// Listens reports whether anybody wants the entries of conv now. It is asked
	// before each of them and may not block.
	Listens(conv chat.ConvID) bool
}

// MemberView answers who is a member, as of the entry that came with it.
type MemberView interface {
	Role(u chat.UserID) (chat.Role, error)
	Len() int
}
