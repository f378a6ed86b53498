package raftgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/store"
)

// Raft stores a vote as two values, first the term, each with an fsync, and
// answers a candidate after the second. Here the vote is one value, written with
// the second: one fsync less at both ends of an election, and no vote is half
// stored. voteKey holds term u64 ‖ candidate. A log that has no such value yet
// is read as Raft wrote it.
var (
	voteTermKey = []byte("LastVoteTerm") // Raft's
	voteForKey  = []byte("LastVoteCand") // Raft's
	voteKey     = []byte("LastVote")
)

// Set implements raft.StableStore.
func (s *logStore) Set(key, val []byte) error {
	switch {
	case bytes.Equal(key, voteTermKey) && len(val) == 8:
		s.voting = bytes.Clone(val)
		return nil
	case bytes.Equal(key, voteForKey) && s.voting != nil:
		key, val = voteKey, append(s.voting, val...)
		s.voting = nil
	}
	start := time.Now()
	s.setting.Store(mono.Of(start))
	defer func() {
		s.setting.Store(0)
		s.setTook.Store((3*s.setTook.Load() + int64(time.Since(start))) / 4)
	}()
	if err := s.log.Set(key, val); err != nil {
		s.fatal(err)
		return err
	}
	if bytes.Equal(key, termKey) && len(val) == 8 {
		s.term.Store(binary.BigEndian.Uint64(val))
	}
	return nil
}

// Get implements raft.StableStore. Raft compares the text of the error for an
// absent key with "not found".
func (s *logStore) Get(key []byte) ([]byte, error) {
	term, candidate := bytes.Equal(key, voteTermKey), bytes.Equal(key, voteForKey)
	if term || candidate {
		switch v, err := s.log.Get(voteKey); {
		case err == nil && len(v) < 8:
			return nil, store.ErrCorrupt
		case err == nil && term:
			return v[:8], nil
		case err == nil:
			return v[8:], nil
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	v, err := s.log.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	return v, err
}

// SetUint64 implements raft.StableStore.
func (s *logStore) SetUint64(key []byte, v uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, v))
}

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, store.ErrCorrupt
	}
	return binary.BigEndian.Uint64(v), nil
}
