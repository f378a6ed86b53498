package conv

import (
	"encoding/binary"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

const opPage = "history"

// ReadPage reads a page. group is the group whose rows r shows.
func ReadPage(r fsm.Reader, group uint32, q Query) (Page, error) {
	b, err := AppendPage(nil, r, group, q)
	if err != nil {
		return Page{}, err
	}
	return DecodePage(b)
}

// AppendPage reads a page and appends it to dst as [DecodePage] takes it,
// without decoding its entries: the way to serve another node.
func AppendPage(dst []byte, r fsm.Reader, group uint32, q Query) ([]byte, error) {
	in, err := open(opPage, r, group, q.Conv, q.User, q.All)
	if err != nil {
		return dst, err
	}
	head, err := in.visibleHead()
	if err != nil {
		return dst, err
	}
	limit, bytes := bounded(q.Limit, chat.PageEntriesMax), bounded(q.Bytes, chat.PageBytesMax)
	var below, above run
	switch q.Mode {
	case Latest:
		err = in.descend(&below, head.Seq, limit, bytes)
	case Before:
		if q.Seq > 0 {
			err = in.descend(&below, min(q.Seq-1, head.Seq), limit, bytes)
		}
	case After:
		err = in.ascend(&above, q.Seq, limit, bytes)
	case Around:
		err = in.around(&below, &above, q.Seq, head.Seq, limit, bytes)
	default:
		return dst, chat.E(opPage, chat.Invalid, "the mode of the query is unknown", nil)
	}
	if err != nil {
		return dst, err
	}
	return in.appendPage(dst, q, head, &below, &above), nil
}

// around collects half a page below a seq, what is left of the page from it on, and
// what that leaves again below, as it does near the head.
func (in *reading) around(below, above *run, seq, head chat.Seq, limit, bytes int) error {
	next := max(seq, 1) - 1 // below it all is collected
	if limit > 1 {
		if err := in.descend(below, min(next, head), limit/2, bytes/2); err != nil {
			return err
		}
	}
	if limit > len(below.items) && (bytes > below.size || len(below.items) == 0) {
		if err := in.ascend(above, next, limit-len(below.items), bytes-below.size); err != nil {
			return err
		}
	}
	if n := len(below.items); n > 0 {
		next = below.items[n-1].seq - 1
	}
	if len(below.items)+len(above.items) >= limit || below.size+above.size >= bytes {
		return nil
	}
	return in.descend(below, min(next, head), limit-len(above.items), bytes-above.size)
}

func bounded(asked, most int) int {
	if asked <= 0 || asked > most {
		return most
	}
	return asked
}

// run is a sequence of stored entries, collected in the order of a scan.
type run struct {
	raw   []byte
	items []item
	size  int
}

type item struct {
	seq        chat.Seq
	start, end int
}

// room makes room for a page of usual entries at once.
func (n *run) room(limit, bytes int) {
	if n.items != nil {
		return
	}
	const usual = 384
	n.items = make([]item, 0, limit)
	n.raw = make([]byte, 0, min(limit*usual, bytes))
}

// take adds the entry of a row, unless it is over the budget and not the first.
func (n *run) take(k, val []byte, limit, bytes int) (more bool, err error) {
	seq, form, c, err := openEntry(k, val)
	if err != nil {
		return false, err
	}
	entry := c.b
	if form == formCheckpoint {
		parseEntry(&c)
		entry = entry[:len(entry)-len(c.b)]
		if c.bad {
			return false, corrupt(opRow, "the row of an entry is malformed")
		}
	}
	if len(n.items) > 0 && n.size+len(entry) > bytes {
		return false, nil
	}
	start := len(n.raw)
	n.raw = append(n.raw, entry...)
	n.items = append(n.items, item{seq, start, len(n.raw)})
	n.size += len(entry)
	return len(n.items) < limit && n.size < bytes, nil
}

// descend collects visible entries from the seq from downwards. Entries are dense, so
// it knows how far down that many are, and scans no further.
func (in *reading) descend(n *run, from chat.Seq, limit, bytes int) error {
	n.room(limit, bytes)
	more := true
	for i := len(in.see.Intervals) - 1; i >= 0 && more; i-- {
		lo, hi := in.see.Intervals[i].From, in.see.Intervals[i].To
		if hi == 0 || hi > from {
			hi = from
		}
		if lo > hi {
			continue
		}
		if want := chat.Seq(limit - len(n.items)); hi-lo >= want {
			lo = hi - want + 1
		}
		err := in.scan(lo, hi, true, func(k, val []byte) (bool, error) {
			var err error
			more, err = n.take(k, val, limit, bytes)
			return more, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ascend collects visible entries above the seq after.
func (in *reading) ascend(n *run, after chat.Seq, limit, bytes int) error {
	n.room(limit, bytes)
	more := true
	for i := 0; i < len(in.see.Intervals) && more; i++ {
		lo, hi := in.see.Intervals[i].From, in.see.Intervals[i].To
		if hi == 0 || hi > in.head.Seq {
			hi = in.head.Seq
		}
		if after >= hi {
			continue
		}
		lo = max(lo, after+1)
		if want := chat.Seq(limit - len(n.items)); hi-lo >= want {
			hi = lo + want - 1
		}
		err := in.scan(lo, hi, false, func(k, val []byte) (bool, error) {
			var err error
			more, err = n.take(k, val, limit, bytes)
			return more, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (in *reading) scan(lo, hi chat.Seq, reverse bool, fn func(k, val []byte) (bool, error)) error {
	var a, b [prefixBytes + 9]byte
	return in.r.Scan(in.prefix.appendEntry(a[:0], lo), in.prefix.appendEntry(b[:0], hi+1), reverse, fn)
}

const (
	pageBefore = 1 << 0
	pageAfter  = 1 << 1
)

// appendPage encodes a page: conv str8 ‖ head uvarint ‖ msg_no uvarint ‖ flags u8
// ‖ count u8 ‖ count × { from uvarint ‖ to uvarint } ‖ count uvarint ‖
// count × { seq uvarint ‖ the stored form of the entry }.
func (in *reading) appendPage(dst []byte, q Query, head HeadInfo, below, above *run) []byte {
	first, last := q.Seq, q.Seq // where an empty page stands
	switch {
	case q.Mode == Latest:
		first, last = head.Seq+1, head.Seq
	case q.Mode == Before && q.Seq > 0:
		last = q.Seq - 1
	case q.Mode == After:
		first = q.Seq + 1
	}
	count := len(below.items) + len(above.items)
	if n := len(below.items); n > 0 {
		first, last = below.items[n-1].seq, below.items[0].seq
	}
	if n := len(above.items); n > 0 {
		if n == count {
			first = above.items[0].seq
		}
		last = above.items[n-1].seq
	}
	var flags byte
	for _, i := range in.see.Intervals {
		if i.From < first && i.From <= head.Seq {
			flags |= pageBefore
		}
		if i.To == 0 && head.Seq > last || i.To > last {
			flags |= pageAfter
		}
	}
	if need := len(below.raw) + len(above.raw) + 8*count + 256; cap(dst)-len(dst) < need {
		dst = append(make([]byte, 0, len(dst)+need), dst...)
	}
	dst = appendStr8(dst, in.row.id)
	dst = binary.AppendUvarint(dst, uint64(head.Seq))
	dst = binary.AppendUvarint(dst, uint64(head.MsgNo))
	dst = append(dst, flags, byte(len(in.see.Intervals)))
	for _, i := range in.see.Intervals {
		dst = binary.AppendUvarint(dst, uint64(i.From))
		dst = binary.AppendUvarint(dst, uint64(i.To))
	}
	dst = binary.AppendUvarint(dst, uint64(count))
	for i := len(below.items) - 1; i >= 0; i-- {
		dst = appendItem(dst, below, &below.items[i])
	}
	for i := range above.items {
		dst = appendItem(dst, above, &above.items[i])
	}
	return dst
}

func appendItem(dst []byte, n *run, it *item) []byte {
	return append(binary.AppendUvarint(dst, uint64(it.seq)), n.raw[it.start:it.end]...)
}

// DecodePage decodes what AppendPage appended. The entries share one copy of b.
func DecodePage(b []byte) (Page, error) {
	c := cursor[string]{b: string(b)}
	p := Page{Conv: chat.ConvID(c.str8()), Head: chat.Seq(c.uvarint()), MsgNo: chat.MsgNo(c.uvarint())}
	flags := c.u8()
	p.Before, p.After = flags&pageBefore != 0, flags&pageAfter != 0
	for range c.u8() {
		if c.bad {
			break
		}
		p.Visible = append(p.Visible, Interval{From: chat.Seq(c.uvarint()), To: chat.Seq(c.uvarint())})
	}
	count := c.count(chat.PageEntriesMax)
	if count > 0 {
		p.Entries = make([]chat.Entry, count)
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		e.Conv, e.Seq = p.Conv, chat.Seq(c.uvarint())
		v := parseEntry(&c)
		if c.bad {
			break
		}
		fill(e, &v)
	}
	if c.bad || len(c.b) != 0 || flags&^(pageBefore|pageAfter) != 0 {
		return Page{}, corrupt(opPage, "a page is malformed")
	}
	return p, nil
}
