package raftgroup

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/seglog"
)

// TestVoteIsOneValue stores votes as Raft does, and reads what Raft wrote into a
// log before there was the one value.
func TestVoteIsOneValue(t *testing.T) {
	log, err := seglog.Open(t.TempDir(), seglog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	g, err := log.Group(1)
	if err != nil {
		t.Fatal(err)
	}
	s := newLogStore(g, "n1", func(err error) { t.Errorf("fatal: %v", err) })
	vote := func(term uint64, candidate string) {
		t.Helper()
		got, err := s.GetUint64(voteTermKey)
		if err != nil || got != term {
			t.Errorf("term of the vote = %d, %v, want %d", got, err, term)
		}
		who, err := s.Get(voteForKey)
		if err != nil || string(who) != candidate {
			t.Errorf("vote for %q, %v, want %q", who, err, candidate)
		}
	}
	if _, err := s.GetUint64(voteTermKey); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a new log has a vote: %v", err)
	}
	if err := g.Set(voteTermKey, binary.BigEndian.AppendUint64(nil, 5)); err != nil {
		t.Fatal(err)
	}
	if err := g.Set(voteForKey, []byte("n2")); err != nil {
		t.Fatal(err)
	}
	vote(5, "n2")
	if err := s.SetUint64(voteTermKey, 7); err != nil {
		t.Fatal(err)
	}
	vote(5, "n2") // half a vote is none
	if err := s.Set(voteForKey, []byte("n3")); err != nil {
		t.Fatal(err)
	}
	vote(7, "n3")
	if v, err := g.Get(voteForKey); err != nil || string(v) != "n2" {
		t.Errorf("the candidate was written apart: %q, %v", v, err)
	}
}

// TestRaftStoresTheTermFirst: Raft gives a vote's term, then its candidate, and
// nothing of a vote stays unwritten after an election.
func TestRaftStoresTheTermFirst(t *testing.T) {
	c := newCluster(t, 3, calmConfig())
	c.boot(1)
	c.put(1, "x")
	lead := c.leader(1)
	g := lead.host.group(1)
	v, err := g.logs.log.Get(voteKey)
	if err != nil {
		t.Fatalf("the leader's own vote: %v", err)
	}
	term := g.raft.Load().CurrentTerm()
	if got := binary.BigEndian.Uint64(v); got != term || string(v[8:]) != string(lead.id) {
		t.Errorf("vote of term %d for %q, want term %d for %q", got, v[8:], term, lead.id)
	}
	for _, key := range [][]byte{voteTermKey, voteForKey} {
		if _, err := g.logs.log.Get(key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s was written apart: %v", key, err)
		}
	}
}
