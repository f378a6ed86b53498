package raftgroup

import (
	"fmt"

	"github.com/chatnode/chatnode/store"
)

// CheckLog verifies the log of a replica that does not run, by the rules of a start:
// its mark, term and end against what the replica has promised, its entries against
// the state, and the checksum of each. It changes nothing.
func CheckLog(log store.GroupLog, state *store.GroupState, promise store.Promise) error {
	mark, err := stableNumber(log, markKey)
	if err != nil {
		return err
	}
	if err := promise.CheckMark(mark); err != nil {
		return err
	}
	last, err := usable(log, state)
	if err != nil {
		return err
	}
	term, err := stableNumber(log, termKey)
	if err != nil {
		return err
	}
	applied, _ := state.Applied()
	if err := promise.Check(term, max(last, applied)); err != nil {
		return err
	}
	if log.LastIndex() == 0 {
		return nil
	}
	var e store.LogEntry
	for i := log.FirstIndex(); i <= log.LastIndex(); i++ {
		if err := log.Entry(i, &e); err != nil {
			return fmt.Errorf("log entry %d: %w", i, err)
		}
	}
	return nil
}

// usable gives the last index of the log as far as a start goes on from it: 0 for a
// log that ends before the state or that the state contradicts. The state covers all
// of such a log: an install, or the loss of a tail, was cut short. A log that begins
// after the state's end is damage.
func usable(log store.GroupLog, state *store.GroupState) (last uint64, err error) {
	applied, term := state.Applied()
	first, last := log.FirstIndex(), log.LastIndex()
	if last == 0 || last < applied {
		return 0, nil
	}
	if first > applied+1 {
		return 0, fmt.Errorf("the log begins at %d and the state ends at %d: entries are missing: %w", first, applied, store.ErrCorrupt)
	}
	if applied > 0 && first <= applied {
		var e store.LogEntry
		if err := log.Entry(applied, &e); err != nil {
			return 0, err
		}
		if e.Term != term {
			return 0, nil
		}
	}
	return last, nil
}
