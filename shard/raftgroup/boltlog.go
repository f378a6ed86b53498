package raftgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/store"
)

const boltLockWait = 2 * time.Second

// boltLog is the log of one group in a Bolt file of its own: small, synced with
// every write, and readable with Bolt's tools. Each entry carries a checksum.
type boltLog struct {
	db *raftboltdb.BoltStore

	// The bounds change with mu held and are read without it: read loops ask for them,
	// and a write may wait for the disk.
	first, last atomic.Uint64

	mu     sync.Mutex // guards what follows, and one write at a time
	count  uint64     // entries appended since it was opened
	notify func(uint64)
	err    error // the first failed write
}

var _ store.GroupLog = (*boltLog)(nil)

func openBoltLog(path string) (*boltLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	db, err := raftboltdb.New(raftboltdb.Options{
		Path: path, MsgpackUseNewTimeFormat: true, BoltOptions: &bbolt.Options{Timeout: boltLockWait},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	b := &boltLog{db: db}
	first, err := db.FirstIndex()
	if err == nil {
		b.first.Store(first)
		var last uint64
		last, err = db.LastIndex()
		b.last.Store(last)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return b, nil
}

func removeBoltLog(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Close frees the file.
func (b *boltLog) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = store.ErrClosed
	}
	return b.db.Close()
}

// FirstIndex implements store.GroupLog.
func (b *boltLog) FirstIndex() uint64 { return b.first.Load() }

// LastIndex implements store.GroupLog.
func (b *boltLog) LastIndex() uint64 { return b.last.Load() }

// DurableIndex implements store.GroupLog: every write is synced.
func (b *boltLog) DurableIndex() uint64 { return b.LastIndex() }

// WaitDurable implements store.GroupLog.
func (b *boltLog) WaitDurable(index uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return b.err
	case index > b.last.Load():
		return store.ErrNotFound
	}
	return nil
}

// NotifyDurable implements store.GroupLog.
func (b *boltLog) NotifyDurable(fn func(uint64)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notify = fn
}

// Append implements store.GroupLog.
func (b *boltLog) Append(entries []store.LogEntry) error {
	if len(entries) == 0 {
		return nil
	}
	logs := make([]*raft.Log, len(entries))
	b.mu.Lock()
	next := b.last.Load() + 1
	if next == 1 {
		next = entries[0].Index
	}
	for i := range entries {
		e := &entries[i]
		if e.Index != next+uint64(i) || e.Index == 0 || len(e.Data)+len(e.Extensions) > store.EntryBytesMax {
			b.mu.Unlock()
			return fmt.Errorf("append of index %d after %d: %w", e.Index, next-1, store.ErrOrder)
		}
		logs[i] = &raft.Log{
			Index: e.Index, Term: e.Term, Type: raft.LogType(e.Type),
			Data: appendSum(e), Extensions: e.Extensions, AppendedAt: time.Unix(0, e.AppendedAtNS),
		}
	}
	if b.err == nil {
		if err := b.db.StoreLogs(logs); err != nil {
			b.err = err
		}
	}
	if err := b.err; err != nil {
		b.mu.Unlock()
		return err
	}
	last := entries[len(entries)-1].Index
	if b.first.Load() == 0 {
		b.first.Store(entries[0].Index)
	}
	b.last.Store(last)
	b.count += uint64(len(entries))
	fn := b.notify
	b.mu.Unlock()
	if fn != nil {
		fn(last)
	}
	return nil
}

var boltSums = crc32.MakeTable(crc32.Castagnoli)

func entrySum(e *store.LogEntry, data []byte) uint32 {
	var b [17]byte
	binary.BigEndian.PutUint64(b[:], e.Index)
	binary.BigEndian.PutUint64(b[8:], e.Term)
	b[16] = e.Type
	sum := crc32.Update(crc32.Checksum(b[:], boltSums), boltSums, data)
	return crc32.Update(sum, boltSums, e.Extensions)
}

// appendSum gives the stored form of an entry's data: the data, then its sum.
func appendSum(e *store.LogEntry) []byte {
	out := make([]byte, 0, len(e.Data)+4)
	out = append(out, e.Data...)
	return binary.BigEndian.AppendUint32(out, entrySum(e, e.Data))
}

// Entry implements store.GroupLog.
func (b *boltLog) Entry(index uint64, into *store.LogEntry) error {
	b.mu.Lock()
	closed := errors.Is(b.err, store.ErrClosed)
	b.mu.Unlock()
	if closed {
		return store.ErrClosed
	}
	var l raft.Log
	if err := b.db.GetLog(index, &l); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) {
			return store.ErrNotFound
		}
		return err
	}
	e := store.LogEntry{Index: l.Index, Term: l.Term, Type: uint8(l.Type), Extensions: l.Extensions}
	if !l.AppendedAt.IsZero() {
		e.AppendedAtNS = l.AppendedAt.UnixNano()
	}
	n := len(l.Data) - 4
	if n < 0 || l.Index != index || entrySum(&e, l.Data[:n]) != binary.BigEndian.Uint32(l.Data[n:]) {
		return chat.E("read log entry", chat.Corrupt, fmt.Sprintf("entry %d", index), store.ErrCorrupt)
	}
	e.Data = l.Data[:n:n]
	*into = e
	return nil
}

// EntryBytes implements store.GroupLog.
func (b *boltLog) EntryBytes(index uint64) int {
	var e store.LogEntry
	if b.Entry(index, &e) != nil { // who needs the entry will tell
		return 0
	}
	return len(e.Data) + len(e.Extensions)
}

// DeleteRange implements store.GroupLog.
func (b *boltLog) DeleteRange(low, high uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	first, last := b.first.Load(), b.last.Load()
	switch {
	case b.err != nil:
		return b.err
	case last == 0 || low > high || high < first || low > last:
		return nil
	}
	low, high = max(low, first), min(high, last)
	if low != first && high != last {
		return fmt.Errorf("delete %d to %d of %d to %d: %w", low, high, first, last, store.ErrOrder)
	}
	if err := b.db.DeleteRange(low, high); err != nil {
		b.err = err
		return err
	}
	switch {
	case low == first && high == last:
		b.first.Store(0)
		b.last.Store(0)
	case low == first:
		b.first.Store(high + 1)
	default:
		b.last.Store(low - 1)
	}
	return nil
}

// Get implements store.GroupLog.
func (b *boltLog) Get(key []byte) ([]byte, error) {
	v, err := b.db.Get(key)
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return nil, store.ErrNotFound
	}
	return v, err
}

// Set implements store.GroupLog.
func (b *boltLog) Set(key, val []byte) error {
	if len(key) > store.StableKeyBytesMax || len(val) > store.StableValueBytesMax {
		return fmt.Errorf("stable value of %d bytes: %w", len(val), store.ErrOrder)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	if err := b.db.Set(key, val); err != nil {
		b.err = err
		return err
	}
	return nil
}
