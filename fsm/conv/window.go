package conv

import (
	"encoding/binary"
	"slices"

	"github.com/chatnode/chatnode/chat"
)

// Sizes of a conversation's window of recent client ids. It must hold more than
// a checkpoint's worth, because those ids have no row yet. A conversation whose
// new ids are older than its window, because many senders have much on its way,
// would read a row for each of them: its window is widened, as long as the group
// has room for that.
const (
	windowMin     = checkpointEvery // to begin with; most conversations stay there
	windowUsual   = 128             // ids that every conversation may hold
	windowMax     = 4096            // ids of one conversation
	windowWideMax = 64 << 10        // ids over the usual, in all windows of a group
)

// window remembers the newest client ids of a hot conversation, so that a retry
// and a predecessor are found, and a new id is known to be new, without a read.
type window struct {
	marks []uint64 // the random half of each id, apart so that a search is one short run
	ids   []recentID
	next  int   // where the next id goes once the ring is full
	most  int   // size of the ring
	floor int64 // every UUIDv7 with a later time that is not here is nowhere

	// Of a wide window: for each bucket of marks its newest place, and for each
	// place the one before of its bucket, counted from 1. Nothing is taken out: a
	// place that was used again since has a mark of another bucket, or is newer
	// than the place whose link led to it, and so ends the search.
	heads []uint16
	older []uint16
}

func newWindow(floor int64) window {
	return window{marks: make([]uint64, 0, windowMin), ids: make([]recentID, 0, windowMin), most: windowUsual, floor: floor}
}

func mark(id *chat.ClientID) uint64 { return binary.LittleEndian.Uint64(id[8:]) }

// add remembers an id, and forgets the oldest when the window is full.
func (w *window) add(r recentID) {
	m := mark(&r.id)
	if len(w.ids) < w.most {
		w.marks = append(w.marks, m)
		w.ids = append(w.ids, r)
		w.enter(len(w.ids) - 1)
		return
	}
	if ms, ok := w.ids[w.next].id.TimeMS(); ok {
		w.floor = max(w.floor, ms)
	}
	w.marks[w.next], w.ids[w.next] = m, r
	w.enter(w.next)
	w.next = (w.next + 1) % w.most
}

// enter puts a place into the index of a wide window.
func (w *window) enter(place int) {
	if w.heads == nil {
		return
	}
	head := &w.heads[w.bucket(w.marks[place])]
	w.older[place], *head = *head, uint16(place+1)
}

// bucket gives the bucket of a mark, of which there are twice as many as places.
func (w *window) bucket(mark uint64) uint64 {
	return mark * 0x9e3779b97f4a7c15 >> 32 & uint64(len(w.heads)-1)
}

// age tells how many places were used after one, when the ring is full; before,
// it orders them likewise. most is a power of two.
func (w *window) age(place int) int { return (w.next - 1 - place) & (w.most - 1) }

// widen doubles the ring and gives the number of ids that it may hold more, 0
// when it is as wide as it may be or not full yet.
func (w *window) widen() int {
	if len(w.ids) < w.most || w.most >= windowMax {
		return 0
	}
	more := w.most
	w.most += more
	// The oldest comes first again, so that appending goes on in order.
	w.marks = append(append(make([]uint64, 0, w.most), w.marks[w.next:]...), w.marks[:w.next]...)
	w.ids = append(append(make([]recentID, 0, w.most), w.ids[w.next:]...), w.ids[:w.next]...)
	w.next = 0
	w.heads, w.older = make([]uint16, 2*w.most), make([]uint16, w.most)
	for i := range w.ids {
		w.enter(i)
	}
	return more
}

// find returns the seq of the newest entry with this id and sender, or 0.
func (w *window) find(id *chat.ClientID, sender []byte) chat.Seq {
	m := mark(id)
	if w.heads != nil {
		return w.findWide(m, id, sender)
	}
	if seq := w.findIn(0, w.next, m, id, sender); seq != 0 {
		return seq
	}
	return w.findIn(w.next, len(w.marks), m, id, sender)
}

// findIn searches the places from lo up to hi, the newest first: what is asked
// for, a retry or a predecessor, is mostly one of the last.
func (w *window) findIn(lo, hi int, m uint64, id *chat.ClientID, sender []byte) chat.Seq {
	for i, mark := range slices.Backward(w.marks[lo:hi]) {
		if mark != m {
			continue
		}
		if r := &w.ids[lo+i]; r.id == *id && string(r.sender) == string(sender) {
			return r.seq
		}
	}
	return 0
}

func (w *window) findWide(m uint64, id *chat.ClientID, sender []byte) chat.Seq {
	bucket := w.bucket(m)
	age := -1
	for n := w.heads[bucket]; n != 0; n = w.older[n-1] {
		place := int(n - 1)
		if w.bucket(w.marks[place]) != bucket || w.age(place) <= age {
			return 0
		}
		if w.marks[place] == m {
			if r := &w.ids[place]; r.id == *id && string(r.sender) == string(sender) {
				return r.seq
			}
		}
		age = w.age(place)
	}
	return 0
}

// newest calls fn with the remembered ids, the newest first, until it says no.
func (w *window) newest(fn func(r *recentID) bool) {
	for i := range w.ids {
		if !fn(&w.ids[(w.next+2*len(w.ids)-1-i)%len(w.ids)]) {
			return
		}
	}
}

// isNew reports whether an id that find does not know is new for certain.
func (w *window) isNew(id *chat.ClientID) bool {
	ms, ok := id.TimeMS()
	return ok && ms > w.floor
}
