// Package pebblelog keeps the log of all Raft groups of a node in one Pebble.
package pebblelog

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// Options configure the log. The zero value is usable.
type Options struct {
	store.LogOptions
	CacheBytes    int64  // of blocks in memory; 0 means DefaultCacheBytes
	MemtableBytes uint64 // 0 means DefaultMemtableBytes
	FS            vfs.FS // nil means the real file system
}

// The defaults of [Options]. Entries that are cut while they are in the
// memtable never reach a table.
const (
	DefaultCacheBytes    = 16 << 20
	DefaultMemtableBytes = 64 << 20
)

// formatMajor is Pebble's own ratchet.
const formatMajor = pebble.FormatTableFormatV6

// pebbleLog has one goroutine that syncs Pebble's log whenever something was
// appended: entries are applied without sync and so can be read at once.
type pebbleLog struct {
	db    *pebble.DB
	log   *slog.Logger
	fatal *store.Fatal
	stop  chan struct{}
	done  chan struct{}
	wake  chan struct{}

	mu      sync.Mutex // guards the rest, and the groups' fields
	synced  sync.Cond  // after each sync, and at the end
	groups  map[shard.GroupID]*group
	dirty   []*group // with something that no sync covers yet
	writes  uint64   // batches applied
	durable uint64   // batches covered by a sync
	pending int64
	closed  bool
	stats   store.LogStats
	started time.Time // of the running sync, zero when none runs
}

// Open opens or makes the log in dir.
func Open(dir string, o Options) (store.Log, error) {
	l := &pebbleLog{
		log:    o.Logger,
		fatal:  store.NewFatal(o.OnFatal),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
		wake:   make(chan struct{}, 1),
		groups: make(map[shard.GroupID]*group),
	}
	l.synced.L = &l.mu
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	opts := l.options(o)
	defer opts.Cache.Unref() // the database holds its own reference
	db, err := pebble.Open(dir, opts)
	if err != nil {
		if pebble.IsCorruptionError(err) {
			return nil, store.Corrupt("open log", err)
		}
		return nil, fmt.Errorf("open log: %w", err)
	}
	l.db = db
	if err := l.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	go l.run()
	return l, nil
}

func (l *pebbleLog) options(o Options) *pebble.Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = DefaultMemtableBytes
	}
	return &pebble.Options{
		FS:                          o.FS,
		FormatMajorVersion:          formatMajor,
		Cache:                       pebble.NewCache(o.CacheBytes),
		MemTableSize:                o.MemtableBytes,
		MemTableStopWritesThreshold: 4,
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      logger{log: l.log, fatal: l.fatal},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { _ = l.fatal.Fail("write log", err) },
		},
	}
}

// Group implements [store.Log].
func (l *pebbleLog) Group(g shard.GroupID) (store.GroupLog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, store.ErrClosed
	}
	return l.group(g), nil
}

// group gives the group of id; mu is held, or nobody else knows the log yet.
func (l *pebbleLog) group(id shard.GroupID) *group {
	g, ok := l.groups[id]
	if !ok {
		g = newGroup(l, id)
		l.groups[id] = g
	}
	return g
}

// Groups implements [store.Log].
func (l *pebbleLog) Groups() []shard.GroupID {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := slices.Sorted(maps.Keys(l.groups))
	return slices.DeleteFunc(ids, func(id shard.GroupID) bool {
		g := l.groups[id]
		return g.last == 0 && !g.stable
	})
}

// Stats implements [store.Log].
func (l *pebbleLog) Stats() store.LogStats {
	m := l.db.Metrics()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Bytes = int64(m.DiskSpaceUsage())
	s.Segments = int(m.WAL.Files)
	s.SyncBytes = m.WAL.BytesWritten
	s.PendingBytes = l.pending
	if !l.started.IsZero() {
		s.SyncRunning = time.Since(l.started)
	}
	return s
}

// Close implements [store.Log].
func (l *pebbleLog) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	<-l.done
	if err := l.fatal.Err(); err != nil {
		return err // the engine is left as it is: it may hold its own locks
	}
	return l.db.Close()
}

type logger struct {
	log   *slog.Logger
	fatal *store.Fatal
}

var errPebble = errors.New("storage engine")

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.log.Warn("storage engine reports an error", "err", fmt.Sprintf(format, args...))
}

func (l logger) Fatalf(format string, args ...any) {
	_ = l.fatal.Fail("write log", fmt.Errorf("%w: %s", errPebble, fmt.Sprintf(format, args...)))
}
