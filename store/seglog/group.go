package seglog

import (
	"fmt"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// group is one group's log: where its entries are, and its stable values. The
// log's mutex guards it.
type group struct {
	l  *segLog
	id shard.GroupID

	first, last uint64 // 0 and 0 when there are no entries
	at          []pos  // of entry first + i
	stable      map[string][]byte

	durable uint64
	syncing uint64 // last index in what is being written
	waiting uint64 // last index in what waits to be written
	dirty   bool   // listed in l.dirty
	notify  func(uint64)
}

func (g *group) empty() bool { return g.last == 0 && len(g.stable) == 0 }

// FirstIndex implements [store.GroupLog].
func (g *group) FirstIndex() uint64 {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	return g.first
}

// LastIndex implements [store.GroupLog].
func (g *group) LastIndex() uint64 {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	return g.last
}

// DurableIndex implements [store.GroupLog].
func (g *group) DurableIndex() uint64 {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	return g.durable
}

// NotifyDurable implements [store.GroupLog].
func (g *group) NotifyDurable(fn func(durable uint64)) {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	g.notify = fn
}

// Append implements [store.GroupLog].
func (g *group) Append(entries []store.LogEntry) error {
	l := g.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.pending > pendingBytesMax && l.usable() == nil {
		l.synced.Wait()
	}
	if err := l.usable(); err != nil {
		return err
	}
	if err := g.checkAppend(entries); err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		p := l.put(kindEntry, g.id, e)
		g.add(e.Index, p)
		l.stats.AppendBytes += uint64(len(e.Data) + len(e.Extensions))
	}
	l.stats.Appends += uint64(len(entries))
	if len(entries) == 0 {
		return nil
	}
	g.waiting = g.last
	if !g.dirty {
		g.dirty = true
		l.dirty = append(l.dirty, g)
	}
	return nil
}

// checkAppend refuses what would break the order, before any of it is written.
func (g *group) checkAppend(entries []store.LogEntry) error {
	if len(entries) == 0 {
		return nil
	}
	next := g.last + 1
	if g.last == 0 {
		next = entries[0].Index
	}
	for i := range entries {
		e := &entries[i]
		if e.Index != next || e.Index == 0 {
			return fmt.Errorf("group %d: append of index %d where %d follows: %w", g.id, e.Index, next, store.ErrOrder)
		}
		if n := len(e.Data) + len(e.Extensions); n > store.EntryBytesMax {
			return fmt.Errorf("group %d: entry of %d bytes, limit %d: %w", g.id, n, store.EntryBytesMax, store.ErrOrder)
		}
		next++
	}
	return nil
}

// add records where the entry after the last one is.
func (g *group) add(index uint64, p pos) {
	if g.last == 0 {
		g.first = index
	}
	g.last = index
	g.at = append(g.at, p)
	p.seg.live += int64(p.n)
}

// WaitDurable implements [store.GroupLog].
func (g *group) WaitDurable(index uint64) error {
	l := g.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for g.durable < index {
		if err := l.fatal.Err(); err != nil {
			return err
		}
		if index > g.last {
			return store.ErrNotFound
		}
		l.synced.Wait()
	}
	return nil
}

// DeleteRange implements [store.GroupLog].
func (g *group) DeleteRange(minIndex, maxIndex uint64) error {
	l := g.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if g.last == 0 || maxIndex < g.first || minIndex > g.last || minIndex > maxIndex {
		return nil
	}
	var first, last uint64
	switch {
	case minIndex <= g.first && maxIndex >= g.last:
	case minIndex <= g.first:
		first, last = maxIndex+1, g.last
	case maxIndex >= g.last:
		first, last = g.first, minIndex-1
	default:
		return fmt.Errorf("group %d: deletion of %d..%d within %d..%d: %w", g.id, minIndex, maxIndex, g.first, g.last, store.ErrOrder)
	}
	l.put(kindBounds, g.id, &store.LogEntry{Index: first, Term: last})
	g.cut(first, last)
	return nil
}

// cut leaves the entries first..last, or none for 0 and 0. The record that says
// so is in the open block.
func (g *group) cut(first, last uint64) {
	from, to := uint64(0), uint64(0)
	if last != 0 {
		from, to = first-g.first, last-g.first+1
	}
	g.bury(g.at[to:])
	g.at = g.at[:to]
	g.bury(g.at[:from])
	g.at = g.at[from:]
	if len(g.at) == 0 {
		g.at = nil
	}
	g.first, g.last = first, last
	g.durable = min(g.durable, last)
	g.syncing = min(g.syncing, last)
	g.waiting = min(g.waiting, last)
	g.l.synced.Broadcast()
}

// bury takes entries off the count of their segments.
func (g *group) bury(at []pos) {
	for i := range at {
		seg := at[i].seg
		if seg == nil { // a slot that recovery has not filled
			continue
		}
		seg.live -= int64(at[i].n)
		seg.deadAt = g.l.block.number
		if seg.live == 0 {
			g.l.wakeKeeper()
		}
	}
	clear(at) // lets go of the chunks
}

// Get implements [store.GroupLog].
func (g *group) Get(key []byte) ([]byte, error) {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	if err := g.l.usable(); err != nil {
		return nil, err
	}
	v, ok := g.stable[string(key)]
	if !ok {
		return nil, store.ErrNotFound
	}
	return append([]byte{}, v...), nil
}

// Set implements [store.GroupLog].
func (g *group) Set(key, val []byte) error {
	if len(key) > store.StableKeyBytesMax || len(val) > store.StableValueBytesMax {
		return fmt.Errorf("stable value of %d bytes under a key of %d: %w", len(val), len(key), store.ErrOrder)
	}
	l := g.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if _, ok := g.stable[string(key)]; !ok && len(g.stable) >= stableKeysMax {
		return fmt.Errorf("group %d has %d stable values already: %w", g.id, len(g.stable), store.ErrOrder)
	}
	l.put(kindStable, g.id, &store.LogEntry{Data: appendStable(nil, key, val)})
	g.keep(key, val)
	return l.waitBlock(l.block.number)
}

// stableKeysMax bounds what a checkpoint can grow to.
const stableKeysMax = 64

func (g *group) keep(key, val []byte) {
	if g.stable == nil {
		g.stable = make(map[string][]byte)
	}
	g.stable[string(key)] = append([]byte{}, val...)
}

// Entry implements [store.GroupLog].
func (g *group) Entry(index uint64, into *store.LogEntry) error {
	l := g.l
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return store.ErrClosed
	}
	if g.last == 0 || index < g.first || index > g.last {
		l.mu.Unlock()
		return store.ErrNotFound
	}
	p := g.at[index-g.first]
	if p.c != nil && p.c.buf != nil {
		b := p.c.buf[int64(p.off)-p.c.off:][:p.n:p.n]
		l.mu.Unlock()
		r, _, _, _ := readRecord(b, p.seg.seed, false) // the bytes that were appended
		*into = r.entry
		return nil
	}
	l.stats.CacheMisses++
	p.seg.readers++
	l.mu.Unlock()
	err := readEntry(p, g.id, index, into)
	l.mu.Lock()
	if p.seg.readers--; p.seg.readers == 0 {
		l.synced.Broadcast()
	}
	l.mu.Unlock()
	return err
}

// EntryBytes implements [store.GroupLog].
func (g *group) EntryBytes(index uint64) int {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	if g.last == 0 || index < g.first || index > g.last {
		return 0
	}
	return int(g.at[index-g.first].n) - recordHeadBytes
}

// readEntry reads an entry from its file and verifies it.
func readEntry(p pos, g shard.GroupID, index uint64, into *store.LogEntry) error {
	where := fmt.Sprintf("entry %d of group %d in %s at %d", index, g, segName(p.seg.header.number), p.off)
	b := make([]byte, p.n)
	if _, err := p.seg.file.ReadAt(b, int64(p.off)); err != nil {
		return store.Corrupt(where, err)
	}
	r, _, n, ok := readRecord(b, p.seg.seed, true)
	if !ok || n != len(b) || r.group != g || r.entry.Index != index || r.kind != kindEntry && r.kind != kindCopy {
		return store.Corrupt(where, nil)
	}
	*into = r.entry
	return nil
}
