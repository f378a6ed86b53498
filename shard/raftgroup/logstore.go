package raftgroup

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// logStore is Raft's log and stable store on a store.GroupLog. StoreLogs returns
// before the entries are durable; who may see an acknowledgement of them waits
// (docs/adr/0002). Raft calls StoreLogs and DeleteRange from one goroutine,
// except for compaction.
type logStore struct {
	log   store.GroupLog
	self  raft.ServerID
	fatal func(error)
	// replica is the group's Raft, nil until it runs.
	replica func() *raft.Raft
	// voter is told, before a configuration that makes this node a voter is
	// stored, its term.
	voter     func(term uint64)
	truncated func(from uint64)
	// applied is the index and term of the last entry that the state contains.
	applied func() (index, term uint64)

	term    atomic.Uint64 // Raft's, as far as it is durable; what is read may not be yet
	voters  atomic.Int64  // of the newest configuration; unknownVoters until asked
	changed atomic.Uint64 // index of the newest configuration that was appended since the start
	pending atomic.Int64  // since when something waits for the disk, as mono.Now; 0 when nothing does
	setting atomic.Int64  // the same for stable values
	setTook atomic.Int64  // how long stable values take, smoothed, in nanoseconds
	voting  []byte        // the term of the vote that Raft is about to store; its main loop's own

	write   sync.Mutex // one Append or DeleteRange at a time; guards scratch
	scratch []store.LogEntry

	size logSize
}

const unknownVoters = -1

var (
	_ raft.LogStore          = (*logStore)(nil)
	_ raft.StableStore       = (*logStore)(nil)
	_ raft.MonotonicLogStore = (*logStore)(nil)
)

func newLogStore(log store.GroupLog, self shard.NodeID, fatal func(error)) *logStore {
	s := &logStore{log: log, self: raft.ServerID(self), fatal: fatal, size: logSize{since: time.Now()}}
	s.voters.Store(unknownVoters)
	return s
}

// IsMonotonic makes Raft clear the log after an install: it takes no gaps.
func (s *logStore) IsMonotonic() bool { return true }

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (uint64, error) { return s.log.FirstIndex(), nil }

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) { return s.log.LastIndex(), nil }

// silentMax bounds the entries that a look for silent ones reads.
const silentMax = 64

// skipSilent gives the last index up to which all entries after applied, as far
// as Raft has handed them on, are such as no machine sees.
func (s *logStore) skipSilent(applied, handed uint64) uint64 {
	var e store.LogEntry
	for end := min(handed, applied+silentMax); applied < end; applied++ {
		if s.log.Entry(applied+1, &e) != nil {
			break // cut, or damaged: who needs the entry will tell
		}
		if t := raft.LogType(e.Type); t != raft.LogNoop && t != raft.LogBarrier {
			break
		}
	}
	return applied
}

// GetLog implements raft.LogStore.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	var e store.LogEntry
	if err := s.log.Entry(index, &e); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			if s.before(index, l) {
				return nil
			}
			return raft.ErrLogNotFound
		}
		s.fatal(err)
		return err
	}
	*l = raft.Log{Index: e.Index, Term: e.Term, Type: raft.LogType(e.Type), Data: e.Data, Extensions: e.Extensions}
	if e.AppendedAtNS != 0 {
		l.AppendedAt = time.Unix(0, e.AppendedAtNS)
	}
	return nil
}

// before gives, of the entry that the state ends with and that the log begins right
// behind, index and term. A leader whose entries contradict all of such a log finds out
// by it that what is before agrees; Raft v1.7.3 looks for it in the log, and in its last
// snapshot only where the log is empty. Nobody sends or applies what is given here: who
// wants the entry itself asks for the one before it first, which is not there. The first
// entry of all has none before it.
func (s *logStore) before(index uint64, l *raft.Log) bool {
	if s.applied == nil || index < 2 || s.log.FirstIndex() != index+1 {
		return false
	}
	at, term := s.applied()
	if at != index {
		return false
	}
	*l = raft.Log{Index: index, Term: term, Type: raft.LogNoop}
	return true
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. It waits for the disk only where Raft could
// commit on this replica's word alone.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	wait := s.mustWait(logs)
	last := logs[len(logs)-1].Index
	err := s.append(logs)
	if err == nil && wait {
		err = s.log.WaitDurable(last)
	}
	if err != nil {
		s.fatal(err)
		return err
	}
	if s.log.DurableIndex() >= last {
		s.pending.Store(0)
	}
	return nil
}

func (s *logStore) append(logs []*raft.Log) error {
	s.write.Lock()
	defer s.write.Unlock()
	s.scratch = s.scratch[:0]
	size := int64(0)
	for _, l := range logs {
		s.scratch = append(s.scratch, store.LogEntry{
			Index: l.Index, Term: l.Term, Type: uint8(l.Type), Data: l.Data, Extensions: l.Extensions,
			AppendedAtNS: l.AppendedAt.UnixNano(),
		})
		size += int64(len(l.Data) + len(l.Extensions))
	}
	now := mono.Now()
	s.pending.CompareAndSwap(0, now) // before: Append may wait for the disk
	err := s.log.Append(s.scratch)
	s.pending.CompareAndSwap(0, now) // after: durable may have seen a log without these entries
	clear(s.scratch)
	s.size.grown(logs[0].Index, size)
	return err
}

// mustWait reports whether these entries have to be durable before Raft counts
// them: a leader that is the only voter commits by itself, and so may one whose
// configuration entry makes it so, or lowers the quorum under entries in flight.
func (s *logStore) mustWait(logs []*raft.Log) bool {
	changes := false
	for _, l := range logs {
		if l.Type == raft.LogConfiguration {
			changes = true
			s.changed.Store(l.Index)
			c := raft.DecodeConfiguration(l.Data)
			s.voters.Store(countVoters(c))
			if hasVoter(c, s.self) {
				s.voter(l.Term)
			}
		}
	}
	r := s.replica()
	if r == nil {
		return true
	}
	if r.State() != raft.Leader {
		return false
	}
	if s.voters.Load() == unknownVoters {
		s.voters.Store(countVoters(r.GetConfiguration().Configuration()))
	}
	return changes || s.voters.Load() <= 1
}

func countVoters(c raft.Configuration) (n int64) {
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

func hasVoter(c raft.Configuration, id raft.ServerID) bool {
	return slices.ContainsFunc(c.Servers, func(s raft.Server) bool { return s.ID == id && s.Suffrage == raft.Voter })
}

// durable is called after each fsync that raised the durable index. An append may
// come between its look at the log and its word that nothing waits: either append
// sees that word, or the second look here sees the entries.
func (s *logStore) durable(index uint64) {
	if index >= s.log.LastIndex() {
		s.pending.Store(0)
	}
	if index < s.log.LastIndex() {
		s.pending.Store(mono.Now())
	}
}

// DeleteRange implements raft.LogStore.
func (s *logStore) DeleteRange(low, high uint64) error {
	s.write.Lock()
	defer s.write.Unlock()
	first, last := s.log.FirstIndex(), s.log.LastIndex()
	low, high = max(low, first), min(high, last)
	if last == 0 || low > high {
		return nil
	}
	if high == last {
		s.voters.Store(unknownVoters) // a configuration may be among what goes
		s.changed.Store(min(s.changed.Load(), low-1))
		s.truncated(low)
	}
	s.size.shrunk(s.log, low, high, first, last)
	if err := s.log.DeleteRange(low, high); err != nil {
		s.fatal(err)
		return err
	}
	return nil
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// trailing is the number of newest entries that a cut to keep bytes leaves.
func (s *logStore) trailing(keep int64) uint64 {
	return max(s.size.trailing(keep, s.log.LastIndex()), trailingMin)
}

// surplus reports whether a cut to keep bytes finds entries that may go: applied
// ones, before those that it leaves.
func (s *logStore) surplus(keep int64, applied uint64) bool {
	first, last, n := s.log.FirstIndex(), s.log.LastIndex(), s.trailing(keep)
	return last > n && min(applied, last-n) >= first
}

// waiting is how long the oldest write that is not done has taken, 0 for none.
func (s *logStore) waiting() time.Duration {
	longest := time.Duration(0)
	for _, v := range []int64{s.pending.Load(), s.setting.Load()} {
		if v != 0 {
			longest = max(longest, mono.Since(v))
		}
	}
	return longest
}
