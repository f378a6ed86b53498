package store

import (
	"errors"
	"log/slog"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// LogEntry is one entry of a group's log. Type and Extensions belong to the
// consensus layer and are kept as given.
//
// An entry that was read shares its Data and Extensions with the log's memory:
// they stay valid for ever and must not be changed.
type LogEntry struct {
	Index        uint64
	Term         uint64
	Type         uint8
	Data         []byte
	Extensions   []byte
	AppendedAtNS int64 // Unix nanoseconds; for people, not for decisions
}

// EntryBytesMax bounds Data and Extensions of one entry together.
const EntryBytesMax = 16 << 20

// StableKeyBytesMax and StableValueBytesMax bound what [GroupLog].Set takes.
const (
	StableKeyBytesMax   = 256
	StableValueBytesMax = 64 << 10
)

// GroupLog is the log and the stable values of one group within the node's
// log. Every method may be called from any goroutine; Append and DeleteRange of
// one group are expected from one at a time.
type GroupLog interface {
	// FirstIndex and LastIndex give the bounds, 0 and 0 for an empty log.
	FirstIndex() uint64
	LastIndex() uint64

	// Append adds entries, the first of which must follow LastIndex (an empty
	// log takes any). They can be read when it returns and are not durable
	// yet. The entries' bytes are copied.
	Append(entries []LogEntry) error

	// DurableIndex is the last index up to which everything survives a power
	// cut; 0 when nothing does.
	DurableIndex() uint64

	// WaitDurable blocks until DurableIndex reaches index. It returns the disk
	// error when there was one, and ErrNotFound when index is not, or no
	// longer, in the log.
	WaitDurable(index uint64) error

	// NotifyDurable sets the function that is called, from the log's writer
	// goroutine, after each fsync that raised the group's DurableIndex. It
	// must not block and must not call Append, Set or WaitDurable.
	NotifyDurable(fn func(durable uint64))

	// Entry reads one entry. It verifies what comes from disk: ErrNotFound,
	// ErrCorrupt.
	Entry(index uint64, into *LogEntry) error

	// EntryBytes is the length of an entry's Data and Extensions, 0 when it is not
	// in the log. It verifies nothing.
	EntryBytes(index uint64) int

	// DeleteRange removes the entries min..max, which must reach from one end
	// of the log: its beginning (compaction), its end (a conflict), or both.
	// It takes effect at once and becomes durable with the next fsync, in
	// order with appends.
	DeleteRange(minIndex, maxIndex uint64) error

	// Get reads a stable value; Set is durable when it returns. The error of
	// an absent key is ErrNotFound, whose text is "not found".
	Get(key []byte) ([]byte, error)
	Set(key, val []byte) error
}

// Log is the log of all groups of a node.
type Log interface {
	// Group gives the log of g, an empty one when g is new.
	Group(g shard.GroupID) (GroupLog, error)
	// Groups lists the groups that have an entry or a stable value.
	Groups() []shard.GroupID
	// Drop removes all of a group and is durable when it returns. A GroupLog
	// taken before stays usable and is empty.
	Drop(g shard.GroupID) error
	Stats() LogStats
	// Close makes everything durable and frees the files.
	Close() error
}

// LogOptions are what every implementation of [Log] needs.
type LogOptions struct {
	Logger *slog.Logger // nil discards
	// OnFatal is told the first write or fsync error, once, from a goroutine
	// of its own. The owner ends the process: the log takes nothing any more.
	OnFatal func(error)
}

// LogStats is a sample of a log's counters.
type LogStats struct {
	Bytes        int64 // on disk, preallocated space included
	LiveBytes    int64 // of entries that can be read; 0 when not tracked
	Segments     int
	Appends      uint64 // entries
	AppendBytes  uint64 // entries' payload bytes
	Syncs        uint64
	SyncBytes    uint64        // bytes written by the log itself
	SyncTime     time.Duration // spent in all writes with their fsyncs
	SyncLast     time.Duration // the newest completed one
	SyncMax      time.Duration // the slowest
	SyncRunning  time.Duration // how long the current one has been running, 0 when none is
	PendingBytes int64         // appended and not yet durable
	CacheBytes   int64         // of recent entries in memory
	CacheMisses  uint64        // entries that were read from disk
}

// The errors that callers tell apart with errors.Is.
var (
	// ErrNotFound has this exact text because the consensus library compares
	// the text of the error for an absent stable value.
	ErrNotFound = errors.New("not found")
	// ErrCorrupt means bytes on disk are not those that were written.
	ErrCorrupt = chat.E("store", chat.Corrupt,
		"stored bytes are damaged: replace this node by a new one with an empty data directory and a new node id", nil)
	// ErrClosed means the log or state was closed.
	ErrClosed = chat.E("store", chat.ShuttingDn, "the store is closed", nil)
	// ErrOrder means an append or a deletion that invariant S1 forbids.
	ErrOrder = errors.New("log index out of order")
)
