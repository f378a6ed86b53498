package check

import (
	"crypto/sha256"
	"encoding/binary"
)

// Kind says what an operation asked for.
type Kind string

// The kinds of operations.
const (
	Create  Kind = "create"  // a conversation; its entry is seq 1
	Append  Kind = "append"  // one message
	Members Kind = "members" // a membership change, an entry like any other
	Read    Kind = "read"    // a default read: linearizable
	Stale   Kind = "stale"   // a read from any replica, named as such
)

// Outcome says what the caller knows of the effect of an operation.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused" // certainly without effect
	Unknown Outcome = "unknown" // may have happened, may happen still
)

// Sum is a digest of all that a reader sees of an entry besides its place and
// time. Sender and reader compute it alike with [SumOf].
type Sum uint64

// SumOf digests the fields of an entry, each with its length.
func SumOf(fields ...string) Sum {
	h := sha256.New()
	var n [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(n[:], uint64(len(f)))
		h.Write(n[:])
		h.Write([]byte(f))
	}
	return Sum(binary.BigEndian.Uint64(h.Sum(nil)))
}

// Change is one line of a membership entry: the role of a user from that entry
// on, 0 after a removal.
type Change struct {
	User string `json:"u"`
	Role uint8  `json:"r,omitempty"`
}

// RoleWriter is the lowest role that may append messages.
const RoleWriter = 2

// Seen is an entry as a read or a subscription showed it.
type Seen struct {
	Seq    uint64 `json:"s"`
	Sum    Sum    `json:"h"`
	TimeMS int64  `json:"ms"`
}

// Op is one operation of one client. Call and Return are nanoseconds on the one
// monotonic clock of the recording process.
type Op struct {
	ID      int64   `json:"id"`
	Kind    Kind    `json:"kind"`
	Conv    string  `json:"conv"`
	User    string  `json:"user"`
	Device  string  `json:"device,omitempty"`
	Call    int64   `json:"call"`
	Return  int64   `json:"return,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	Code    string  `json:"code,omitempty"` // of a failure, for people

	// What was sent, by Create, Append and Members.
	MsgID   string   `json:"msg,omitempty"`
	N       int64    `json:"n,omitempty"` // place in what the device sent to Conv, 0 = claims no order
	Sum     Sum      `json:"sum,omitempty"`
	Changes []Change `json:"changes,omitempty"`

	// The acknowledgement.
	Seq    uint64 `json:"seq,omitempty"`
	MsgNo  uint64 `json:"msg_no,omitempty"`
	TimeMS int64  `json:"ms,omitempty"`
	Root   string `json:"root,omitempty"` // "" = not given

	// Reads: entries From, From+1, … at most Limit of them; From 0 asks for the
	// newest Limit. Head is the head that the answer named; More says that the
	// answer called itself cut.
	From    uint64 `json:"from,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
	MinSeq  uint64 `json:"min_seq,omitempty"`
	Head    uint64 `json:"head,omitempty"`
	More    bool   `json:"more,omitempty"`
	Node    string `json:"node,omitempty"`
	Entries []Seen `json:"entries,omitempty"`
}

// Delivery is one entry pushed to a subscriber at a time.
type Delivery struct {
	Seen
	At int64 `json:"t"`
}

// Stream is all that one subscription delivered, over however many connections.
type Stream struct {
	ID   int64      `json:"id"`
	Conv string     `json:"conv"`
	User string     `json:"user"`
	From uint64     `json:"from"` // the first seq asked for
	Got  []Delivery `json:"got,omitempty"`
	// Live says that the subscription was still wanted when the run ended, so it
	// must have reached the end of what its user may see.
	Live bool `json:"live,omitempty"`
}

// Note is something that is no operation: a fault injected, a phase begun.
type Note struct {
	At   int64  `json:"t"`
	Text string `json:"text"`
}

// History is a whole run.
type History struct {
	Ops     []Op
	Streams []Stream
	Notes   []Note
}

// Entry is an entry of the final log as one replica holds it.
type Entry struct {
	Seen
	MsgID   string   `json:"id"`
	Sender  string   `json:"u"`
	Device  string   `json:"d,omitempty"`
	MsgNo   uint64   `json:"n"`
	Message bool     `json:"m,omitempty"`   // counts in MsgNo, needs the role of a writer
	All     bool     `json:"all,omitempty"` // on seq 1: newcomers may read all history
	Changes []Change `json:"changes,omitempty"`
	Root    string   `json:"root,omitempty"` // over the entries up to this one; "" = not computed
}

// Final is a conversation after the run: the whole log as read from each
// replica, at the same applied index.
type Final struct {
	Conv     string
	Replicas map[string][]Entry
	Roots    map[string]string // replica → root it states for the whole log
}

// Hashes are the state hashes of one group by replica, at the same applied
// index.
type Hashes struct {
	Group    string
	Replicas map[string]string
}
