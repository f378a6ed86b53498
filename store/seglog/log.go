package seglog

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// Options configure a segment log. The zero value is usable.
type Options struct {
	store.LogOptions
	SegmentBytes int64 // of one segment file; 0 means DefaultSegmentBytes
	CacheBytes   int64 // of recent entries kept in memory; 0 means DefaultCacheBytes
	FS           FS    // nil means the real file system
}

// The defaults of [Options], and the limits that have no option.
const (
	DefaultSegmentBytes = 32 << 20
	DefaultCacheBytes   = 16 << 20
	segmentBytesMin     = 3 * segHeadBytes
	segmentBytesMax     = 1 << 30
	chunkBytes          = 512 << 10
	pendingBytesMax     = 64 << 20 // more than this waiting for the disk makes Append wait
	sparesMax           = 2        // emptied segments kept for re-use
	groupsMax           = 1 << 16
)

// segLog implements [store.Log].
type segLog struct {
	fs    FS
	dir   string
	opts  Options
	log   *slog.Logger
	fatal *store.Fatal

	writerDone chan struct{}
	keeperDone chan struct{}
	keep       chan struct{} // wakes the keeper

	mu      sync.Mutex // guards the rest, and the fields of groups, segments and chunks
	work    sync.Cond  // the writer waits on it
	synced  sync.Cond  // after each sync, when a reader leaves, and at the end
	idle    bool       // the writer waits
	closing bool
	groups  map[shard.GroupID]*group
	segs    []*segment // in order; appends go to the last one
	spares  []string   // names of files ready to become segments
	spareNo uint64

	cur       *chunk // where records go; nil before the first
	block     openBlock
	nextBlock uint64
	durable   uint64 // number of the last durable block
	parts     []part // closed blocks that the writer has not taken
	partsFree []part // memory of the parts that the writer has done
	dirty     []*group
	pending   int64 // bytes of blocks that are not durable

	cache      []*chunk // oldest first
	cacheBytes int64

	stats   store.LogStats
	started time.Time // of the running write, zero when none runs
	calls   []call    // the writer's own
}

// Open opens or makes the log in dir. A torn end, which a crash leaves, is cut;
// any other damage is [store.ErrCorrupt].
func Open(dir string, o Options) (store.Log, error) {
	l := &segLog{
		fs:         o.FS,
		dir:        dir,
		opts:       o,
		log:        o.Logger,
		fatal:      store.NewFatal(o.OnFatal),
		writerDone: make(chan struct{}),
		keeperDone: make(chan struct{}),
		keep:       make(chan struct{}, 1),
		groups:     make(map[shard.GroupID]*group),
	}
	l.work.L, l.synced.L = &l.mu, &l.mu
	if l.fs == nil {
		l.fs = OSFS{}
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.opts.SegmentBytes == 0 {
		l.opts.SegmentBytes = DefaultSegmentBytes
	}
	if l.opts.CacheBytes == 0 {
		l.opts.CacheBytes = DefaultCacheBytes
	}
	if n := l.opts.SegmentBytes; n < segmentBytesMin || n > segmentBytesMax {
		return nil, fmt.Errorf("segment of %d bytes is not within %d and %d", n, segmentBytesMin, segmentBytesMax)
	}
	if err := l.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s: %w", dir, err), l.closeFiles())
	}
	go l.write()
	go l.keepSegments()
	l.wakeKeeper()
	return l, nil
}

// Group implements [store.Log].
func (l *segLog) Group(id shard.GroupID) (store.GroupLog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	if len(l.groups) >= groupsMax {
		return nil, fmt.Errorf("more than %d groups in one log", groupsMax)
	}
	return l.group(id), nil
}

func (l *segLog) group(id shard.GroupID) *group {
	g, ok := l.groups[id]
	if !ok {
		g = &group{l: l, id: id}
		l.groups[id] = g
	}
	return g
}

// usable says whether the log takes calls; mu is held.
func (l *segLog) usable() error {
	if err := l.fatal.Err(); err != nil {
		return err
	}
	if l.closing {
		return store.ErrClosed
	}
	return nil
}

// Groups implements [store.Log].
func (l *segLog) Groups() []shard.GroupID {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := slices.Sorted(maps.Keys(l.groups))
	return slices.DeleteFunc(ids, func(id shard.GroupID) bool { return l.groups[id].empty() })
}

// Drop implements [store.Log].
func (l *segLog) Drop(id shard.GroupID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	g := l.group(id)
	if g.empty() {
		return nil
	}
	l.put(kindDrop, id, &store.LogEntry{})
	g.cut(0, 0)
	g.stable = nil
	return l.waitBlock(l.block.number)
}

// waitBlock blocks until a block is durable; mu is held.
func (l *segLog) waitBlock(number uint64) error {
	for l.durable < number {
		if err := l.fatal.Err(); err != nil {
			return err
		}
		l.synced.Wait()
	}
	return nil
}

// Stats implements [store.Log].
func (l *segLog) Stats() store.LogStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Segments = len(l.segs)
	for _, seg := range l.segs {
		s.Bytes += max(l.opts.SegmentBytes, seg.tail)
		s.LiveBytes += seg.live
	}
	s.Bytes += int64(len(l.spares)) * l.opts.SegmentBytes
	s.PendingBytes = l.pending
	s.CacheBytes = l.cacheBytes
	if !l.started.IsZero() {
		s.SyncRunning = time.Since(l.started)
	}
	return s
}

// Close implements [store.Log].
func (l *segLog) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.writerDone
		return nil
	}
	l.closing = true
	l.work.Broadcast()
	l.synced.Broadcast()
	l.mu.Unlock()
	<-l.writerDone // it has written what was left
	l.wakeKeeper()
	<-l.keeperDone
	l.mu.Lock()
	for l.reading() {
		l.synced.Wait()
	}
	l.mu.Unlock()
	return errors.Join(l.fatal.Err(), l.closeFiles())
}

func (l *segLog) reading() bool {
	return slices.ContainsFunc(l.segs, func(s *segment) bool { return s.readers > 0 })
}

func (l *segLog) closeFiles() error {
	var errs []error
	for _, s := range l.segs {
		if s.file != nil {
			errs = append(errs, s.file.Close())
			s.file = nil
		}
	}
	return errors.Join(errs...)
}
