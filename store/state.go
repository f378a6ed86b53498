package store

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/shard"
)

// installPrefix begins the names of the tables that an install writes. They are
// orphans when the process starts: a finished install has moved them.
const installPrefix = "install-"

// GroupsMax bounds the groups of one node's state.
const GroupsMax = 1 << 16

// State is the replicated state of all groups of a node. Its methods may be
// called from any goroutine.
type State struct {
	db       *pebble.DB
	opts     *pebble.Options
	dir      string
	fs       vfs.FS
	log      *slog.Logger
	fatal    *Fatal
	numbers  numbers
	mem      budget
	merges   sync.Pool     // of *merge
	overlays sync.Pool     // of *overlay
	tables   atomic.Uint64 // names of tables
	merging  *scheduler

	stop      chan struct{} // closed by Close
	compacted chan struct{} // holds one; sent to after a compaction
	wg        sync.WaitGroup

	mu     sync.Mutex // guards groups and closed
	groups map[shard.GroupID]*GroupState
	closed bool

	flushMu sync.Mutex // one layer is written at a time, and none while a range is replaced
}

// OpenState opens or makes the state in dir.
func OpenState(dir string, o StateOptions) (*State, error) {
	s := &State{
		dir:       dir,
		fs:        o.FS,
		numbers:   numbers{o.Number},
		log:       o.Logger,
		fatal:     NewFatal(o.OnFatal),
		merges:    sync.Pool{New: func() any { return new(merge) }},
		overlays:  sync.Pool{New: func() any { return new(overlay) }},
		stop:      make(chan struct{}),
		compacted: make(chan struct{}, 1),
		groups:    make(map[shard.GroupID]*GroupState),
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = DefaultBufferBytes
	}
	if o.BufferBytes < 0 || o.BufferBytes > bufferBytesMax {
		return nil, fmt.Errorf("open state: %d bytes of buffers are not from 0 to %d", o.BufferBytes, int64(bufferBytesMax))
	}
	s.mem.init(o.BufferBytes)
	if s.fs == nil {
		s.fs = vfs.Default
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.merging = newScheduler()
	opts := s.pebbleOptions()
	cache := pebble.NewCache(max(o.CacheBytes, 0))
	if o.CacheBytes == 0 {
		cache.Unref()
		cache = pebble.NewCache(DefaultCacheBytes)
	}
	opts.Cache = cache
	opts.EnsureDefaults()
	defer cache.Unref() // the database holds its own reference
	db, err := pebble.Open(dir, opts)
	if err != nil {
		return nil, readError("open state", err)
	}
	s.db, s.opts = db, opts
	if err := s.removeOrphans(); err != nil {
		return nil, errors.Join(fmt.Errorf("open state: %w", err), db.Close())
	}
	s.merging.begin()
	s.wg.Add(1)
	go s.flusher()
	return s, nil
}

// removeOrphans deletes what interrupted installs and flushes left behind.
func (s *State) removeOrphans() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, installPrefix) && !strings.HasPrefix(name, flushPrefix) {
			continue
		}
		if err := s.fs.Remove(s.fs.PathJoin(s.dir, name)); err != nil {
			return err
		}
		s.log.Info("removed a table that was not finished", "file", name)
	}
	return nil
}

// Group gives the state of g, an empty one when g is new.
func (s *State) Group(g shard.GroupID) (*GroupState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if gs, ok := s.groups[g]; ok {
		return gs, nil
	}
	if len(s.groups) >= GroupsMax {
		return nil, fmt.Errorf("more than %d groups on one node", GroupsMax)
	}
	gs, err := openGroup(s, g)
	if err != nil {
		return nil, err
	}
	s.groups[g] = gs
	return gs, nil
}

// Close makes the state durable and frees the files. Views, snapshots and
// installs must have been closed. After a failed write it frees nothing: the
// process is to end.
func (s *State) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	s.wg.Wait()
	for _, g := range s.groups { // no more are added
		if err := g.barrier(); err != nil {
			return err // the engine is left as it is: it may hold its own locks
		}
	}
	return s.db.Close()
}
