package fanout

import (
	"sync"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/wire"
)

// Limits of one conversation's tail.
const (
	TailEntriesMax = 256
	TailBytesMax   = 256 << 10
)

// topic is one conversation that somebody here has open.
type topic struct {
	hub  *Hub
	conv chat.ConvID

	mu      sync.Mutex // guards what follows; no other lock is taken under it
	tail    []tailEntry
	bytes   int
	dropped int      // bytes of entries that are not in tail any more, but in its memory
	base    chat.Seq // the seq below the first of tail
	last    chat.Seq // base + len(tail), or more while entries are missing
	removal chat.Seq // the newest entry known that removes members, 0 for none
	known   bool     // base and last mean something

	watchers map[*Watch]struct{}
	moved    []func() // the watchers' functions; replaced, never changed

	// Attachment and repair, driven by the hub.
	node    shard.NodeID
	feed    Feed
	round   uint64 // counts attachments: an answer to an older one is of no use
	synced  uint64 // the round up to which the head was read
	reading bool   // a repair runs
	again   bool   // and must run once more
	gone    bool   // nobody has it open any more
}

type tailEntry struct {
	json    []byte
	removed []chat.Change // of an entry that removes members
}

// offer takes an entry from the feed. missing is true when entries before it
// have not come.
func (t *topic) offer(e *chat.Entry) (moved []func(), missing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.gone:
		return nil, false
	case !t.known:
		t.known, t.base, t.last = true, e.Seq-1, e.Seq-1
	case e.Seq <= t.last:
		return nil, false
	case e.Seq > t.last+1:
		return nil, true
	}
	t.push(e)
	return t.moved, false
}

// push appends the entry last+1. The lock is held.
func (t *topic) push(e *chat.Entry) {
	json := wire.AppendEntry(make([]byte, 0, 320+len(e.Body.Text)+len(e.Body.Text)/8), e)
	entry := tailEntry{json: json}
	if e.Type == chat.MemberRemoved {
		entry.removed, t.removal = e.Body.Changes, e.Seq
	}
	t.tail = append(t.tail, entry)
	t.bytes += len(json)
	t.last = e.Seq
	drop := 0
	for len(t.tail)-drop > TailEntriesMax || t.bytes > TailBytesMax && len(t.tail)-drop > 1 {
		n := len(t.tail[drop].json)
		t.bytes -= n
		t.dropped += n
		drop++
	}
	t.base += chat.Seq(drop)
	t.tail = t.tail[drop:]
	if t.dropped > TailBytesMax/2 {
		// The dropped ones are not cleared, since readers may be at them: with new
		// memory they go when the last reader has gone.
		t.tail, t.dropped = append(make([]tailEntry, 0, 2*len(t.tail)), t.tail...), 0
	}
}

// fill takes what a repair has read: entries above the last known one, and the
// head at that time.
func (t *topic) fill(entries []chat.Entry, head chat.Seq) (moved []func(), more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return nil, false
	}
	if !t.known {
		t.known, t.base, t.last = true, head, head
		return t.moved, false
	}
	before := t.last
	for i := range entries {
		if entries[i].Seq == t.last+1 {
			t.push(&entries[i])
		}
	}
	if t.last < head && (len(entries) == 0 || head-t.last > TailEntriesMax) {
		// Further behind than the tail is long: sessions read the log.
		t.tail, t.bytes, t.dropped, t.base, t.last = nil, 0, 0, head, head
	}
	if t.last == before {
		return nil, false
	}
	return t.moved, t.last < head
}

// Watch is one session's interest in a topic. It implements the session's Tail.
type Watch struct {
	t     *topic
	moved func()
}

// Head is the newest seq that is known, 0 while none is.
func (w *Watch) Head() chat.Seq {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	return w.t.last
}

// HeadFor is the newest seq that is known and that user may know of, who was a
// member at since and has been given the entries up to after: the entry that
// removes user, if there is one.
func (w *Watch) HeadFor(after, since chat.Seq, user chat.UserID) chat.Seq {
	t := w.t
	t.mu.Lock()
	last, at := t.last, max(after, since)
	if t.removal <= at || at < t.base { // nearly always the former: nothing to look for
		t.mu.Unlock()
		return last
	}
	run := t.tail[at-t.base:]
	t.mu.Unlock()
	for i := range run {
		if removes(run[i].removed, user) {
			return at + chat.Seq(i) + 1
		}
	}
	return last
}

// Append appends the JSON of the entries above after with commas between, up to
// about bytesMax, and stops behind an entry above since that removes user. ok
// is false when the tail does not hold the entry after+1 but the log does.
func (w *Watch) Append(dst []byte, after, since chat.Seq, user chat.UserID, bytesMax int) (out []byte, last chat.Seq, cut, ok bool) {
	t := w.t
	t.mu.Lock()
	if !t.known || after >= t.last {
		t.mu.Unlock()
		return dst, after, false, true
	}
	if after < t.base {
		t.mu.Unlock()
		return dst, after, false, false
	}
	// The entries are never changed: only the slice is taken under the lock.
	run := t.tail[after-t.base:]
	t.mu.Unlock()
	last = after
	for i := range run {
		if i > 0 {
			if len(dst)+len(run[i].json) > bytesMax {
				break
			}
			dst = append(dst, ',')
		}
		dst = append(dst, run[i].json...)
		last++
		if last > since && removes(run[i].removed, user) {
			return dst, last, true, true
		}
	}
	return dst, last, false, true
}

func removes(changes []chat.Change, user chat.UserID) bool {
	for _, c := range changes {
		if c.User == user {
			return true
		}
	}
	return false
}

// Close ends the interest.
func (w *Watch) Close() { w.t.hub.leave(w) }
