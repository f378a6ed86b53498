package store

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// Promise is what the replica of a group on this node has told others, kept
// apart from the log: a log that has less than its replica promised was lost or
// replaced by an old copy, and must not vote.
type Promise struct {
	Voter bool   // it was a voter of the group
	Term  uint64 // its log reached this term
	Index uint64 // its log reached this index, durably
	Mark  uint64 // what its log's own stable values bear since the replica began; 0 when it has none
}

// ErrPromise means a replica's log has less than the replica once promised.
var ErrPromise = chat.E("check promise", chat.Corrupt,
	"the log of this node is emptier than what the node has promised: its disk was wiped, rolled back or exchanged. "+
		"It must not vote any more. Remove this node from the cluster and join it again with an empty data directory and a new node id", nil)

// Check compares the promise with what a log holds: its last index (or the
// applied index of the state, when that is higher) and its term.
func (p Promise) Check(term, last uint64) error {
	if !p.Voter && p.Index == 0 || term >= p.Term && last >= p.Index {
		return nil
	}
	return fmt.Errorf("promised index %d of term %d, found index %d of term %d: %w", p.Index, p.Term, last, term, ErrPromise)
}

// CheckMark compares the mark of the promise with the one that a log bears, 0
// for none. A log that was emptied by its own replica still bears it; one whose
// files were removed or exchanged does not, whatever the state has.
func (p Promise) CheckMark(mark uint64) error {
	if p.Mark == 0 || p.Mark == mark {
		return nil
	}
	return fmt.Errorf("the log bears the mark %016x, promised was %016x: %w", mark, p.Mark, ErrPromise)
}

// Promise gives the promise of a group's replica; ok is false when it made none.
func (d *Dir) Promise(g shard.GroupID) (p Promise, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok = d.promises[g]
	return p, ok
}

// Promised lists the groups with a promise, in order.
func (d *Dir) Promised() []shard.GroupID {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.promises))
}

// SetPromise raises the promise of a group's replica and is durable when it
// returns. What would lower it, or change its mark, is left as it is. The caller makes the log
// durable up to p.Index before. A promise is coarse on purpose: it is raised
// when the replica becomes a voter, when its log is cut, and at a graceful
// stop, not with every entry.
func (d *Dir) SetPromise(g shard.GroupID, p Promise) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, had := d.promises[g]
	p.Voter = p.Voter || old.Voter
	p.Term, p.Index = max(p.Term, old.Term), max(p.Index, old.Index)
	if old.Mark != 0 {
		p.Mark = old.Mark
	}
	if had && p == old {
		return nil
	}
	next := maps.Clone(d.promises)
	next[g] = p
	return d.writePromises(next)
}

// Forget removes the promise of a group whose replica the cluster removed from
// this node for good.
func (d *Dir) Forget(g shard.GroupID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.promises[g]; !ok {
		return nil
	}
	next := maps.Clone(d.promises)
	delete(next, g)
	return d.writePromises(next)
}

func (d *Dir) writePromises(next map[shard.GroupID]Promise) error {
	if err := replaceFile(d.path, promiseFile, appendPromises(nil, next)); err != nil {
		return chat.E("write promise", chat.Internal, "the file of promises cannot be written", err)
	}
	d.promises = next
	return nil
}

const (
	promiseMagic = "chatnode-promises-2"
	promiseBytes = 4 + 1 + 8 + 8 + 8
)

// appendPromises appends: magic, per group {group u32, voter u8, term u64,
// index u64, mark u64} in the order of groups, CRC-32C of all before it.
func appendPromises(b []byte, all map[shard.GroupID]Promise) []byte {
	start := len(b)
	b = append(b, promiseMagic...)
	for _, g := range slices.Sorted(maps.Keys(all)) {
		p := all[g]
		b = binary.BigEndian.AppendUint32(b, uint32(g))
		voter := byte(0)
		if p.Voter {
			voter = 1
		}
		b = append(b, voter)
		b = binary.BigEndian.AppendUint64(b, p.Term)
		b = binary.BigEndian.AppendUint64(b, p.Index)
		b = binary.BigEndian.AppendUint64(b, p.Mark)
	}
	return binary.BigEndian.AppendUint32(b, crcOf(b[start:]))
}

func readPromises(b []byte) (map[shard.GroupID]Promise, error) {
	body := len(b) - 4
	n := body - len(promiseMagic)
	if n < 0 || n%promiseBytes != 0 || string(b[:len(promiseMagic)]) != promiseMagic ||
		binary.BigEndian.Uint32(b[body:]) != crcOf(b[:body]) {
		return nil, corrupt("file of promises", nil)
	}
	all := make(map[shard.GroupID]Promise, n/promiseBytes)
	for rest := b[len(promiseMagic):body]; len(rest) > 0; rest = rest[promiseBytes:] {
		all[shard.GroupID(binary.BigEndian.Uint32(rest))] = Promise{
			Voter: rest[4] == 1,
			Term:  binary.BigEndian.Uint64(rest[5:]),
			Index: binary.BigEndian.Uint64(rest[13:]),
			Mark:  binary.BigEndian.Uint64(rest[21:]),
		}
	}
	return all, nil
}
