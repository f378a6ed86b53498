package raftgroup

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/store"
)

// stateID is the id of the one snapshot that always exists: the state itself.
const stateID = "state"

// snapshotStore is Raft's snapshot store without stored snapshots: what it lists
// is derived from the state, so that there is nothing that could disagree with
// it, and what it opens is a stream of the state as it is now.
type snapshotStore struct {
	state *store.GroupState
	// installing is told that Raft's configuration will come from a snapshot.
	installing func(c raft.Configuration, bytes int64) error

	mu       sync.Mutex
	received *snapshotSink // complete and not opened yet
	count    uint64
}

var _ raft.SnapshotStore = (*snapshotStore)(nil)

// List implements raft.SnapshotStore.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	index, term := s.state.Applied()
	data, at := s.state.Configuration()
	if index == 0 || at == 0 {
		return nil, nil
	}
	c, err := decodeConfiguration(data)
	if err != nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{{
		Version: raft.SnapshotVersionMax, ID: stateID, Index: index, Term: term,
		Configuration: c, ConfigurationIndex: at,
	}}, nil
}

// Open implements raft.SnapshotStore.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if id != stateID {
		s.mu.Lock()
		sink := s.received
		s.received = nil
		s.mu.Unlock()
		if sink == nil || sink.ID() != id {
			return nil, nil, fmt.Errorf("no snapshot %q", id)
		}
		return &sink.meta, &received{install: sink.install}, nil
	}
	snap, err := s.state.Snapshot()
	if err != nil {
		return nil, nil, err
	}
	h := snap.Header()
	c, err := decodeConfiguration(h.Configuration)
	if err != nil || h.Index == 0 {
		return nil, nil, errors.Join(fmt.Errorf("snapshot at index %d: %w", h.Index, store.ErrNotFound), err, snap.Close())
	}
	return &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: stateID, Index: h.Index, Term: h.Term,
		Configuration: c, ConfigurationIndex: h.ConfigurationIndex, Size: int64(h.Size),
	}, snap, nil
}

// Create implements raft.SnapshotStore, for a local snapshot as for a received
// one: which it is shows when bytes come.
func (s *snapshotStore) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &snapshotSink{store: s, meta: raft.SnapshotMeta{
		Version: v, ID: stateID, Index: index, Term: term, Configuration: c, ConfigurationIndex: at,
	}}, nil
}

// snapshotSink takes a snapshot: nothing of a local one, and the stream of a
// received one into tables beside the state.
type snapshotSink struct {
	store   *snapshotStore
	meta    raft.SnapshotMeta
	install *store.Install
}

// ID implements raft.SnapshotSink.
func (k *snapshotSink) ID() string { return k.meta.ID }

// Write implements io.Writer.
func (k *snapshotSink) Write(p []byte) (int, error) {
	if k.install == nil {
		in, err := k.store.state.NewInstall()
		if err != nil {
			return 0, err
		}
		k.install = in
		k.store.mu.Lock()
		k.store.count++
		k.meta.ID = fmt.Sprintf("received-%d", k.store.count)
		k.store.mu.Unlock()
	}
	n, err := k.install.Write(p)
	k.meta.Size += int64(n)
	return n, err
}

// Close implements io.Closer. Raft closes a local snapshot twice.
func (k *snapshotSink) Close() error {
	if k.install == nil {
		return nil
	}
	h, ok := k.install.Header()
	if !ok || h.Index != k.meta.Index || h.Term != k.meta.Term {
		k.install.Abort()
		return fmt.Errorf("the stream is of index %d term %d, announced were %d and %d: %w",
			h.Index, h.Term, k.meta.Index, k.meta.Term, store.ErrCorrupt)
	}
	if err := k.store.installing(k.meta.Configuration, k.meta.Size); err != nil {
		k.install.Abort()
		return err
	}
	k.store.mu.Lock()
	if old := k.store.received; old != nil && old != k {
		old.install.Abort()
	}
	k.store.received = k
	k.store.mu.Unlock()
	return nil
}

// Cancel implements raft.SnapshotSink.
func (k *snapshotSink) Cancel() error {
	if k.install != nil {
		k.install.Abort()
	}
	return nil
}

// received is a complete snapshot on its way into the state: Restore commits
// what was written already, there are no bytes to read.
type received struct{ install *store.Install }

func (*received) Read([]byte) (int, error) { return 0, io.EOF }

// Close drops what was not committed.
func (r *received) Close() error {
	r.install.Abort()
	return nil
}

// decodeConfiguration reads a stored configuration; Raft's decoder panics on
// what it cannot read.
func decodeConfiguration(b []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("configuration: %w", store.ErrCorrupt)
		}
	}()
	return raft.DecodeConfiguration(b), nil
}
