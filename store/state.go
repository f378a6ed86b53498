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
	db    *pebble.DB
	opts  *pebble.Options
	dir   string
	fs    vfs.FS
	wal   bool
	log   *slog.Logger
	fatal *Fatal

	commits atomic.Uint64 // batches applied, to skip barriers with nothing new

	mu       sync.Mutex // guards groups and closed
	groups   map[shard.GroupID]*GroupState
	closed   bool
	installs atomic.Uint64 // names of install tables

	flushMu sync.Mutex // one barrier at a time; guards flushed
	flushed uint64     // commits that the last barrier covered
}

// OpenState opens or makes the state in dir.
func OpenState(dir string, o StateOptions) (*State, error) {
	s := &State{
		dir:    dir,
		fs:     o.FS,
		wal:    o.WAL == WALOn || o.WAL == WALDefault && walDefault,
		log:    o.Logger,
		fatal:  NewFatal(o.OnFatal),
		groups: make(map[shard.GroupID]*GroupState),
	}
	if s.fs == nil {
		s.fs = vfs.Default
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	opts := s.pebbleOptions(o)
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
	return s, nil
}

// removeOrphans deletes what interrupted installs left behind.
func (s *State) removeOrphans() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, installPrefix) {
			continue
		}
		if err := s.fs.Remove(s.fs.PathJoin(s.dir, name)); err != nil {
			return err
		}
		s.log.Info("removed the rest of an interrupted install", "file", name)
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
	if err := s.barrier(); err != nil {
		return err // the engine is left as it is: it may hold its own locks
	}
	return s.db.Close()
}

// barrier makes every batch that was committed before the call durable. Calls
// at the same time share the work: who waited for a barrier that began after
// its own batch has nothing left to do.
func (s *State) barrier() error {
	want := s.commits.Load()
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if err := s.fatal.Err(); err != nil {
		return err
	}
	if s.flushed >= want {
		return nil
	}
	covers := s.commits.Load()
	if err := s.fatal.Guard("make the state durable", s.sync); err != nil {
		return err
	}
	s.flushed = covers
	return nil
}

// sync makes everything applied durable.
func (s *State) sync() error {
	if s.wal {
		return s.db.LogData(nil, pebble.Sync)
	}
	return s.flush()
}

// flush writes what is in memory to tables. A flush that fails is tried again
// by the engine for ever, so the failure ends the wait.
func (s *State) flush() error {
	done, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-s.fatal.Failed():
		return s.fatal.Err()
	}
}

// apply commits one batch without waiting for the disk.
func (s *State) apply(b *pebble.Batch) error {
	if err := s.fatal.Err(); err != nil {
		return err
	}
	err := s.fatal.Guard("commit state", func() error { return s.db.Apply(b, pebble.NoSync) })
	if err != nil {
		return err
	}
	s.commits.Add(1)
	return nil
}
