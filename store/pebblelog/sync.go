package pebblelog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chatnode/chatnode/internal/fault/sabotage"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// open and usable say whether the log takes calls; mu is free for open and held
// for usable.
func (l *pebbleLog) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usable()
}

func (l *pebbleLog) usable() error {
	if err := l.fatal.Err(); err != nil {
		return err
	}
	if l.closed {
		return store.ErrClosed
	}
	return nil
}

// apply commits b without sync and leaves the rest to the goroutine; mu is held,
// which keeps the batches of a group in order.
func (l *pebbleLog) apply(b *pebble.Batch, g *group, size int64) error {
	if err := l.usable(); err != nil {
		return err
	}
	err := l.fatal.Guard("append to log", func() error { return l.db.Apply(b, pebble.NoSync) })
	if err != nil {
		return err
	}
	l.writes++
	l.pending += size
	if !g.dirty {
		g.dirty = true
		l.dirty = append(l.dirty, g)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// waitSynced blocks until everything applied so far is durable; mu is held.
func (l *pebbleLog) waitSynced() error {
	for want := l.writes; l.durable < want; {
		if err := l.fatal.Err(); err != nil {
			return err
		}
		l.synced.Wait()
	}
	return nil
}

// run syncs until the log is closed, and once more at the end.
func (l *pebbleLog) run() {
	defer close(l.done)
	for {
		select {
		case <-l.wake:
			l.sync()
		case <-l.stop:
			l.sync()
			l.mu.Lock()
			l.synced.Broadcast()
			l.mu.Unlock()
			return
		}
	}
}

// sync makes everything applied so far durable with one fsync.
func (l *pebbleLog) sync() {
	l.mu.Lock()
	covers, size := l.writes, l.pending
	groups := l.dirty
	l.dirty = nil
	for _, g := range groups {
		g.dirty = false
		g.syncing = g.waiting
	}
	if covers == l.durable || l.fatal.Err() != nil {
		l.synced.Broadcast()
		l.mu.Unlock()
		return
	}
	l.started = time.Now()
	l.mu.Unlock()

	var err error
	if !sabotage.NoFsync() {
		err = l.fatal.Guard("sync log", func() error { return l.db.LogData(nil, pebble.Sync) })
	}
	l.mu.Lock()
	took := time.Since(l.started)
	l.started = time.Time{}
	if err != nil {
		l.synced.Broadcast()
		l.mu.Unlock()
		return
	}
	l.durable = covers
	l.pending -= size
	l.stats.Syncs++
	l.stats.SyncTime += took
	l.stats.SyncLast = took
	l.stats.SyncMax = max(l.stats.SyncMax, took)
	calls := l.raise(groups)
	l.synced.Broadcast()
	l.mu.Unlock()
	for _, c := range calls {
		c.fn(c.durable)
	}
}

// call is a notification to be made without the mutex.
type call struct {
	fn      func(uint64)
	durable uint64
}

// raise advances the durable indexes of the groups that a sync covered.
func (l *pebbleLog) raise(groups []*group) []call {
	var calls []call
	for _, g := range groups {
		if g.syncing <= g.durable {
			continue
		}
		g.durable = g.syncing
		if g.notify != nil {
			calls = append(calls, call{g.notify, g.durable})
		}
	}
	return calls
}

// Drop implements [store.Log].
func (l *pebbleLog) Drop(id shard.GroupID) error {
	b := l.db.NewBatch()
	defer func() { _ = b.Close() }() // it gives memory back
	lower := binary.BigEndian.AppendUint32(nil, uint32(id))
	upper := binary.BigEndian.AppendUint32(nil, uint32(id)+1)
	if err := b.DeleteRange(lower, upper, nil); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.group(id)
	if err := l.apply(b, g, 0); err != nil {
		return err
	}
	g.first, g.last, g.stable = 0, 0, false
	g.clamp()
	return l.waitSynced()
}

// load finds the bounds of every group.
func (l *pebbleLog) load() (err error) {
	it, err := l.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; {
		if len(it.Key()) < 5 {
			return store.Corrupt("log key", nil)
		}
		id := shard.GroupID(binary.BigEndian.Uint32(it.Key()))
		if err := l.group(id).load(it); err != nil {
			return err
		}
		ok = it.SeekGE(binary.BigEndian.AppendUint32(nil, uint32(id)+1))
	}
	return readError(it)
}

// load finds the bounds of one group, which has rows. Each move of it forgets the error
// of the one before, so each is asked: a log that cannot be read is not a shorter one.
func (g *group) load(it *pebble.Iterator) error {
	found := it.SeekGE(entryKey(nil, g.id, 0)) && isEntry(it.Key(), g.id)
	if err := readError(it); err != nil {
		return err
	}
	if found {
		g.first = binary.BigEndian.Uint64(it.Key()[5:])
		if !it.SeekLT(entryKey(nil, g.id, ^uint64(0))) || !isEntry(it.Key(), g.id) {
			return errors.Join(store.Corrupt("log key", nil), it.Error())
		}
		g.last = binary.BigEndian.Uint64(it.Key()[5:])
		g.durable = g.last
	}
	g.stable = it.SeekGE(stableKey(g.id, nil)) && binary.BigEndian.Uint32(it.Key()) == uint32(g.id)
	return readError(it)
}

func readError(it *pebble.Iterator) error {
	if err := it.Error(); err != nil {
		return store.Corrupt("read log", err)
	}
	return nil
}

func isEntry(key []byte, id shard.GroupID) bool {
	return len(key) == entryKeyBytes && binary.BigEndian.Uint32(key) == uint32(id) && key[4] == entryArea
}
