package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// group is one group's log. Its fields are guarded by the log's mutex.
type group struct {
	l  *pebbleLog
	id shard.GroupID

	first, last uint64
	durable     uint64
	syncing     uint64 // last index that the running sync covers
	waiting     uint64 // last index that the next sync covers
	stable      bool   // it has a stable value
	dirty       bool   // it is listed in l.dirty
	notify      func(uint64)
}

func newGroup(l *pebbleLog, id shard.GroupID) *group { return &group{l: l, id: id} }

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

// Append implements [store.GroupLog].
func (g *group) Append(entries []store.LogEntry) error {
	if len(entries) == 0 {
		return nil
	}
	b := g.l.db.NewBatch()
	defer func() { _ = b.Close() }() // it gives memory back
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	size, err := g.encode(b, entries)
	if err != nil {
		return err
	}
	if err := g.l.apply(b, g, int64(size)); err != nil {
		return err
	}
	if g.last == 0 {
		g.first = entries[0].Index
	}
	g.last = entries[len(entries)-1].Index
	g.waiting = g.last
	g.l.stats.Appends += uint64(len(entries))
	g.l.stats.AppendBytes += uint64(size)
	return nil
}

// encode puts the entries into b after checking that they follow the log.
func (g *group) encode(b *pebble.Batch, entries []store.LogEntry) (size int, err error) {
	next := g.last + 1
	if g.last == 0 {
		next = entries[0].Index
	}
	var key [entryKeyBytes]byte
	for i := range entries {
		e := &entries[i]
		if e.Index != next || e.Index == 0 {
			return 0, fmt.Errorf("group %d: append of index %d where %d follows: %w", g.id, e.Index, next, store.ErrOrder)
		}
		next++
		n := len(e.Data) + len(e.Extensions)
		if n > store.EntryBytesMax {
			return 0, fmt.Errorf("group %d: entry of %d bytes, limit %d: %w", g.id, n, store.EntryBytesMax, store.ErrOrder)
		}
		size += n
		op := b.SetDeferred(entryKeyBytes, entryHead+n)
		copy(op.Key, entryKey(key[:0], g.id, e.Index))
		putEntry(op.Value, op.Key, e)
		if err := op.Finish(); err != nil {
			return 0, fmt.Errorf("append: %w", err)
		}
	}
	return size, nil
}

// DurableIndex implements [store.GroupLog].
func (g *group) DurableIndex() uint64 {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	return g.durable
}

// WaitDurable implements [store.GroupLog].
func (g *group) WaitDurable(index uint64) error {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	for g.durable < index {
		if err := g.l.usable(); err != nil {
			return err
		}
		if index > g.last {
			return store.ErrNotFound
		}
		g.l.synced.Wait()
	}
	return nil
}

// NotifyDurable implements [store.GroupLog].
func (g *group) NotifyDurable(fn func(durable uint64)) {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	g.notify = fn
}

// Entry implements [store.GroupLog].
func (g *group) Entry(index uint64, into *store.LogEntry) error {
	g.l.mu.Lock()
	in := g.last != 0 && g.first <= index && index <= g.last
	closed := g.l.closed
	g.l.mu.Unlock()
	if closed {
		return store.ErrClosed
	}
	if !in {
		return store.ErrNotFound
	}
	var buf [entryKeyBytes]byte
	key := entryKey(buf[:0], g.id, index)
	val, closer, err := g.l.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return g.vanished(index)
	}
	if err != nil {
		return store.Corrupt("read log entry", err)
	}
	return errors.Join(readEntry(key, val, index, into), closer.Close())
}

// EntryBytes implements [store.GroupLog].
func (g *group) EntryBytes(index uint64) int {
	var e store.LogEntry
	if g.Entry(index, &e) != nil { // who needs the entry will tell
		return 0
	}
	return len(e.Data) + len(e.Extensions)
}

// vanished says why an entry that was in the log a moment ago is not stored.
func (g *group) vanished(index uint64) error {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	if index < g.first || index > g.last {
		return store.ErrNotFound
	}
	return store.Corrupt(fmt.Sprintf("entry %d of group %d is gone", index, g.id), nil)
}

// DeleteRange implements [store.GroupLog].
func (g *group) DeleteRange(minIndex, maxIndex uint64) error {
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	if g.last == 0 || maxIndex < g.first || minIndex > g.last || minIndex > maxIndex {
		return nil
	}
	if minIndex > g.first && maxIndex < g.last {
		return fmt.Errorf("group %d: deletion of %d..%d within %d..%d: %w", g.id, minIndex, maxIndex, g.first, g.last, store.ErrOrder)
	}
	b := g.l.db.NewBatch()
	defer func() { _ = b.Close() }() // it gives memory back
	lo, hi := max(minIndex, g.first), min(maxIndex, g.last)
	if err := b.DeleteRange(entryKey(nil, g.id, lo), entryKey(nil, g.id, hi+1), nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := g.l.apply(b, g, 0); err != nil {
		return err
	}
	switch {
	case lo == g.first && hi == g.last:
		g.first, g.last = 0, 0
	case lo == g.first:
		g.first = hi + 1
	default:
		g.last = lo - 1
	}
	g.clamp()
	return nil
}

// clamp lowers what is or becomes durable to the end of the log, and lets those
// who wait for more see that.
func (g *group) clamp() {
	g.durable = min(g.durable, g.last)
	g.syncing = min(g.syncing, g.last)
	g.waiting = min(g.waiting, g.last)
	g.l.synced.Broadcast()
}

// Get implements [store.GroupLog].
func (g *group) Get(key []byte) ([]byte, error) {
	if err := g.l.open(); err != nil {
		return nil, err
	}
	k := stableKey(g.id, key)
	val, closer, err := g.l.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, store.Corrupt("read stable value", err)
	}
	if len(val) < 4 || binary.BigEndian.Uint32(val) != sum(k, val[4:]) {
		return nil, errors.Join(store.Corrupt("stable value", nil), closer.Close())
	}
	return append([]byte{}, val[4:]...), closer.Close()
}

// Set implements [store.GroupLog].
func (g *group) Set(key, val []byte) error {
	if len(key) > store.StableKeyBytesMax || len(val) > store.StableValueBytesMax {
		return fmt.Errorf("stable value of %d bytes under a key of %d: %w", len(val), len(key), store.ErrOrder)
	}
	k := stableKey(g.id, key)
	v := append(binary.BigEndian.AppendUint32(nil, sum(k, val)), val...)
	b := g.l.db.NewBatch()
	defer func() { _ = b.Close() }() // it gives memory back
	if err := b.Set(k, v, nil); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	g.l.mu.Lock()
	defer g.l.mu.Unlock()
	if err := g.l.apply(b, g, 0); err != nil {
		return err
	}
	g.stable = true
	return g.l.waitSynced()
}
