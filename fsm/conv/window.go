package conv

import (
	"encoding/binary"

	"github.com/chatnode/chatnode/chat"
)

// Sizes of a conversation's window of recent client ids. It must hold more than
// a checkpoint's worth, because those ids have no row yet.
const (
	windowMin = checkpointEvery // to begin with; most conversations stay there
	windowMax = 128
)

// window remembers the newest client ids of a hot conversation, so that a retry
// and a predecessor are found, and a new id is known to be new, without a read.
type window struct {
	marks []uint64 // the random half of each id, apart so that a search is one short run
	ids   []recentID
	next  int   // where the next id goes once the ring is full
	floor int64 // every UUIDv7 with a later time that is not here is nowhere
}

func mark(id *chat.ClientID) uint64 { return binary.LittleEndian.Uint64(id[8:]) }

// add remembers an id, and forgets the oldest when the window is full.
func (w *window) add(r recentID) {
	if len(w.ids) < windowMax {
		w.marks = append(w.marks, mark(&r.id))
		w.ids = append(w.ids, r)
		return
	}
	if ms, ok := w.ids[w.next].id.TimeMS(); ok {
		w.floor = max(w.floor, ms)
	}
	w.marks[w.next], w.ids[w.next] = mark(&r.id), r
	w.next = (w.next + 1) % windowMax
}

// find returns the seq of the newest entry with this id and sender, or 0.
func (w *window) find(id *chat.ClientID, sender []byte) chat.Seq {
	m := mark(id)
	best := chat.Seq(0)
	for i, got := range w.marks {
		if got != m {
			continue
		}
		r := &w.ids[i]
		if r.id == *id && string(r.sender) == string(sender) && r.seq > best {
			best = r.seq
		}
	}
	return best
}

// isNew reports whether an id that find does not know is new for certain.
func (w *window) isNew(id *chat.ClientID) bool {
	ms, ok := id.TimeMS()
	return ok && ms > w.floor
}
