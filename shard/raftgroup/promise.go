package raftgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/store"
)

// markKey is where a log bears its mark, among the stable values: they outlive
// the deletion of all entries, and go with the log's files.
var markKey = []byte("chatnode/mark")

var termKey = []byte("CurrentTerm") // Raft's

// stableNumber reads one of a log's stable values, 0 where it was never set.
func stableNumber(log store.GroupLog, key []byte) (uint64, error) {
	b, err := log.Get(key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, nil
	case err == nil && len(b) != 8:
		err = store.ErrCorrupt
	}
	if err != nil {
		return 0, fmt.Errorf("stable value %s: %w", key, err)
	}
	return binary.BigEndian.Uint64(b), nil
}

// checkMark refuses a log that is not the one of the replica's promise: votes
// and acknowledged entries went with it, however far the state is. A new replica
// marks its log before Raft writes to it.
func (g *group) checkMark() (p store.Promise, err error) {
	if g.host.deps.Promises == nil {
		return p, nil
	}
	p, _ = g.host.deps.Promises.Promise(g.id)
	g.mark, err = stableNumber(g.logs.log, markKey)
	if err != nil {
		return p, err
	}
	if err := p.CheckMark(g.mark); err != nil {
		return p, err
	}
	if g.mark == 0 {
		g.mark = rand.Uint64() | 1
		err = g.logs.SetUint64(markKey, g.mark)
	}
	return p, err
}

// checkPromise compares what the replica has promised with the log's term and
// with the last index that log and state have, and puts a new log's mark on
// record. The state's term says nothing here: votes are in the log alone.
func (g *group) checkPromise(p store.Promise, last uint64) error {
	if g.host.deps.Promises == nil {
		return nil
	}
	g.promised.Store(p.Voter)
	term, err := stableNumber(g.logs.log, termKey)
	if err != nil {
		return err
	}
	if err := p.Check(term, last); err != nil {
		return err
	}
	g.logs.term.Store(term)
	return g.host.deps.Promises.SetPromise(g.id, store.Promise{Mark: g.mark})
}

// promiseVoter records that this replica votes, before it can.
func (g *group) promiseVoter(term uint64) {
	if g.host.deps.Promises == nil || g.promised.Load() {
		return
	}
	if err := g.host.deps.Promises.SetPromise(g.id, store.Promise{Voter: true, Term: term, Mark: g.mark}); err != nil {
		g.host.fatal.fail(fmt.Errorf("record the promise of group %d: %w", g.id, err))
		return
	}
	g.promised.Store(true)
}

// promiseIn records that this replica votes, before Raft begins with a
// configuration that says so and did not come by the log.
func (g *group) promiseIn(c raft.Configuration) error {
	if !hasVoter(c, g.host.id) {
		return nil
	}
	term, err := stableNumber(g.logs.log, termKey)
	if err != nil {
		return err
	}
	g.promiseVoter(term)
	if g.host.deps.Promises != nil && !g.promised.Load() {
		return errors.New("the promise of a voter cannot be recorded")
	}
	return nil
}

// promiseLog records how far the durable log has come. Raft may be at writing another
// term: what is promised before it is durable would not be there after a crash.
func (g *group) promiseLog() {
	if g.host.deps.Promises == nil || !g.promised.Load() {
		return
	}
	applied, _ := g.machine.state.Applied()
	err := g.host.deps.Promises.SetPromise(g.id, store.Promise{
		Voter: true, Term: g.logs.term.Load(), Index: min(applied, g.logs.log.DurableIndex()), Mark: g.mark,
	})
	if err != nil {
		g.host.fatal.fail(fmt.Errorf("record the promise of group %d: %w", g.id, err))
	}
}
