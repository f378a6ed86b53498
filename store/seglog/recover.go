package seglog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chatnode/chatnode/store"
)

func formatNo(n uint64) string { return strconv.FormatUint(n, 10) }

// recover reads the whole log, verifies it and readies it for appends.
func (l *segLog) recover() error {
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return err
	}
	// A process that was killed may have renamed and removed files that the disk has as
	// before. What is written to them from here on belongs to the names as they are now.
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	numbers, err := l.listFiles()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if err := l.openSegment(n); err != nil {
			return err
		}
	}
	r := &replay{l: l}
	if err := r.run(); err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return err
	}
	l.durable = r.last
	l.nextBlock = (r.last>>epochShift + 1) << epochShift
	l.start()
	return l.firstSync()
}

// epochShift parts a block's number: the upper half rises with every Open, so
// that what a crash left behind the end is never taken for a continuation.
const epochShift = 32

// listFiles finds the segments and the spare files.
func (l *segLog) listFiles() (numbers []uint64, err error) {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if n, ok := parseSegName(name); ok {
			numbers = append(numbers, n)
			continue
		}
		no, ok := strings.CutPrefix(name, sparePrefix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(no, 10, 64); err == nil {
			l.spareNo = max(l.spareNo, n)
		}
		if err := l.adoptSpare(name); err != nil {
			return nil, err
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// adoptSpare keeps a spare file of the right size and removes another.
func (l *segLog) adoptSpare(name string) error {
	path := filepath.Join(l.dir, name)
	f, err := l.fs.Open(path)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if size == l.opts.SegmentBytes && len(l.spares) < sparesMax {
		l.spares = append(l.spares, name)
		return nil
	}
	return l.fs.Remove(path)
}

func (l *segLog) openSegment(number uint64) error {
	f, err := l.fs.Open(filepath.Join(l.dir, segName(number)))
	if err != nil {
		return err
	}
	s := &segment{file: f, tail: segHeadBytes}
	l.segs = append(l.segs, s)
	head := make([]byte, segHeadBytes)
	if _, err := f.ReadAt(head, 0); err != nil {
		return store.Corrupt(segName(number)+": header", err)
	}
	h, ok := readSegHeader(head)
	if !ok || h.number != number {
		return store.Corrupt(segName(number)+": header", nil)
	}
	s.header, s.seed = h, h.seed()
	return nil
}

// start makes a segment for appends where there is none to continue.
func (l *segLog) start() {
	n := len(l.segs)
	switch {
	case n == 0:
		l.beginSegment(1)
	case l.segs[n-1].sealed:
		l.beginSegment(l.segs[n-1].header.number + 1)
	default:
		seg := l.segs[n-1]
		l.beginBlock(seg, 0)
		l.closeBlock(0)
	}
}

// firstSync makes durable what was read, which so far may be in the system's
// cache only, together with the first block of this epoch.
func (l *segLog) firstSync() error {
	for _, s := range l.segs {
		if s.file != nil {
			if err := s.file.Sync(); err != nil {
				return err
			}
		}
	}
	u := l.take()
	if err := l.writeParts(u.parts, true); err != nil {
		return err
	}
	l.durable = u.upTo
	l.pending = 0
	return nil
}

// replay builds the state from the segments.
type replay struct {
	l    *segLog
	last uint64 // number of the last good block
}

func (r *replay) run() error {
	for i := 0; i < len(r.l.segs); i++ {
		s := r.l.segs[i]
		gap := i > 0 && s.header.number != r.l.segs[i-1].header.number+1
		end, err := r.segment(s, i == 0 || gap)
		if err != nil {
			return err
		}
		if end == endSealed && i < len(r.l.segs)-1 {
			continue
		}
		return r.settleEnd(i)
	}
	return nil
}

// settleEnd decides about the end of readable blocks in segment i: the end of
// the log, torn or not, or damage (invariant L2).
func (r *replay) settleEnd(i int) error {
	l := r.l
	s := l.segs[i]
	for j := i; j < len(l.segs); j++ {
		from := int64(segHeadBytes)
		if j == i {
			from = s.tail
		}
		if j > i && l.segs[j].header.number != l.segs[j-1].header.number+1 {
			return store.Corrupt(fmt.Sprintf("%s at %d", segName(s.header.number), s.tail), nil)
		}
		durable, err := maxDurable(l.segs[j], from)
		if err != nil {
			return err
		}
		if durable > r.last {
			return store.Corrupt(fmt.Sprintf("%s at %d: block after %d", segName(s.header.number), s.tail, r.last), nil)
		}
	}
	if s.firstBlock != 0 {
		return r.discard(i + 1)
	}
	// It was named and never used. Those before it end well, if there are any.
	if i == 0 && s.header.number != 1 {
		return store.Corrupt(segName(s.header.number)+": the segments before it are missing", nil)
	}
	return r.discard(i)
}

// discard removes the segments from i on. Nothing in them was durable.
func (r *replay) discard(i int) error {
	l := r.l
	for j := len(l.segs) - 1; j >= i; j-- {
		s := l.segs[j]
		name := segName(s.header.number)
		l.log.Info("removed a log segment that was never complete", "file", name)
		err := errors.Join(s.file.Close(), l.fs.Remove(filepath.Join(l.dir, name)), l.fs.SyncDir(l.dir))
		if err != nil {
			return err
		}
		l.segs = l.segs[:j]
	}
	return nil
}

// finish checks that every entry was found and counts what is live.
func (r *replay) finish() error {
	for _, id := range r.l.sortedGroups() {
		g := r.l.groups[id]
		for i := range g.at {
			if g.at[i].seg == nil {
				return store.Corrupt(fmt.Sprintf("entry %d of group %d is missing", g.first+uint64(i), id), nil)
			}
			g.at[i].seg.live += int64(g.at[i].n)
		}
		g.durable = g.last
	}
	return nil
}

// record applies one record. at is where it is.
func (r *replay) record(rec *record, at pos) error {
	g := r.l.group(rec.group)
	e := &rec.entry
	bad := func(what string) error {
		return store.Corrupt(fmt.Sprintf("%s at %d: %s", segName(at.seg.header.number), at.off, what), nil)
	}
	switch rec.kind {
	case kindEntry:
		if e.Index == 0 || g.last != 0 && e.Index != g.last+1 {
			return bad("entry out of order")
		}
		if g.last == 0 {
			g.first = e.Index
		}
		g.last = e.Index
		g.at = append(g.at, at)
	case kindCopy:
		if g.last != 0 && g.first <= e.Index && e.Index <= g.last {
			g.at[e.Index-g.first] = at
		}
	case kindBounds:
		if !g.setBounds(e.Index, e.Term) {
			return bad("bounds out of order")
		}
	case kindStable:
		key, val, ok := readStable(e.Data)
		if !ok {
			return bad("stable value")
		}
		g.keep(key, val)
	case kindDrop:
		*g = group{l: g.l, id: g.id}
	default:
		return bad("record of a kind that this binary does not know: use the newer binary")
	}
	return nil
}

// setBounds narrows the log to first..last as a record says.
func (g *group) setBounds(first, last uint64) bool {
	if first == 0 && last == 0 {
		g.first, g.last, g.at = 0, 0, nil
		return true
	}
	if g.last == 0 || first < g.first || last > g.last || last < first {
		return false
	}
	g.at = g.at[first-g.first : last-g.first+1]
	g.first, g.last = first, last
	return true
}

// checkpoint compares the state with a segment's checkpoint or, where earlier
// segments are gone, takes the checkpoint's.
func (r *replay) checkpoint(cp checkpoint, adopt bool) error {
	ids := r.l.sortedGroups()
	for _, id := range ids {
		if cp[id] != nil || r.l.groups[id].empty() {
			continue
		}
		if !adopt {
			return store.Corrupt(fmt.Sprintf("group %d is not in the checkpoint", id), nil)
		}
		delete(r.l.groups, id)
	}
	for id, m := range cp {
		g := r.l.group(id)
		if !adopt {
			if g.first != m.first || g.last != m.last || len(g.stable) != len(m.stable) {
				return store.Corrupt(fmt.Sprintf("group %d differs from the checkpoint", id), nil)
			}
			continue
		}
		g.adopt(m)
	}
	return nil
}

// adopt takes a checkpoint's bounds and keeps the places that are known.
func (g *group) adopt(m *groupMark) {
	var at []pos
	if m.last != 0 {
		at = make([]pos, m.last-m.first+1)
		for i, p := range g.at {
			if index := g.first + uint64(i); m.first <= index && index <= m.last {
				at[index-m.first] = p
			}
		}
	}
	g.first, g.last, g.at, g.stable = m.first, m.last, at, m.stable
}
