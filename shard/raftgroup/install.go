package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/store"
)

// install decides what becomes of a snapshot before Raft sees it. Raft v1.7.3
// does not handle one that ends before the local log does: a conflicting rest
// stays, or the log is emptied behind its back (hashicorp/raft issue 697).
func (g *group) install(ctx context.Context, m *raft.InstallSnapshotRequest, data io.Reader,
	pass func(io.Reader) (*raft.InstallSnapshotResponse, error),
) (*raft.InstallSnapshotResponse, error) {
	r := g.raft.Load()
	if r == nil {
		return nil, errStopping
	}
	if m.Term < r.CurrentTerm() || r.LastIndex() < m.LastLogIndex {
		return g.through(ctx, data, pass)
	}
	have, err := g.holds(m.LastLogIndex, m.LastLogTerm)
	if err != nil {
		return nil, err
	}
	if !have {
		return g.replace(m, data)
	}
	// Figure 13, step 6, of the Raft paper: the log has the snapshot's last entry,
	// so it has all before it, and what follows stays.
	if _, err := io.Copy(io.Discard, data); err != nil {
		return nil, err
	}
	return &raft.InstallSnapshotResponse{Term: m.Term, Success: true}, nil
}

// through passes a snapshot on to Raft, and not while the log is cut: Raft ends a
// cut with the index at which it began. It would take that for the last one that it
// has, although the state is that of the snapshot, and vote for who has less.
func (g *group) through(ctx context.Context, data io.Reader,
	pass func(io.Reader) (*raft.InstallSnapshotResponse, error),
) (*raft.InstallSnapshotResponse, error) {
	select {
	case g.cutting <- struct{}{}:
	default:
		g.log.Debug("a snapshot waits for the end of a cut")
		select {
		case g.cutting <- struct{}{}:
		case <-ctx.Done():
			return nil, errStopping
		}
	}
	defer func() { <-g.cutting }()
	return pass(data)
}

// holds reports whether the replica durably has the entry of an index and term,
// in the state or in the log. While Raft runs, a false answer may be late: the
// entry may come, or be applied and cut, between the two looks.
func (g *group) holds(index, term uint64) (bool, error) {
	if applied, _ := g.machine.state.Applied(); applied >= index {
		return true, g.machine.state.Barrier()
	}
	var e store.LogEntry
	err := g.logs.log.Entry(index, &e)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case e.Term != term:
		return false, nil
	}
	return true, g.logs.log.WaitDurable(index)
}

// replace installs a snapshot onto a log that goes on beyond it with other
// entries. Raft is stopped, the snapshot becomes the state, and only then the
// log goes: it may hold the only other copy of what the snapshot contains.
func (g *group) replace(m *raft.InstallSnapshotRequest, data io.Reader) (*raft.InstallSnapshotResponse, error) {
	in, err := g.machine.state.NewInstall()
	if err != nil {
		return nil, err
	}
	defer in.Abort()
	if _, err := io.Copy(in, data); err != nil {
		return nil, err
	}
	if h, ok := in.Header(); !ok || h.Index != m.LastLogIndex || h.Term != m.LastLogTerm {
		return nil, fmt.Errorf("the stream is not that of index %d term %d: %w", m.LastLogIndex, m.LastLogTerm, store.ErrCorrupt)
	}
	if err := g.rebuild(m, in); err != nil {
		return nil, err
	}
	// The connection that asked went with the old Raft. The leader asks again and
	// finds the entry.
	return &raft.InstallSnapshotResponse{Term: m.Term, Success: true}, nil
}

// rebuild runs the replica anew on an installed state and an empty log. What
// fails in between leaves a replica that must not go on.
//
// While the stream came, another leader may have replaced the rest of the log and
// gone on, and what it was told to be here counts. So whether the log contradicts
// the snapshot is decided when Raft has ended and nothing appends, cuts or applies
// any more. What a snapshot has is committed: a log with its last entry has all of
// it, and one with another entry there has nothing from there on that counts.
func (g *group) rebuild(m *raft.InstallSnapshotRequest, in *store.Install) error {
	g.life.Lock()
	defer g.life.Unlock()
	if g.stopped {
		return errStopping
	}
	g.halt()
	have, err := g.holds(m.LastLogIndex, m.LastLogTerm)
	if err == nil && !have {
		g.log.Warn("the log contradicts the snapshot that was received: beginning anew from it")
		if err = g.machine.install(in); err == nil {
			err = g.logs.DeleteRange(g.logs.log.FirstIndex(), g.logs.log.LastIndex())
		}
	}
	if err == nil {
		err = g.launch()
	}
	if err != nil {
		err = fmt.Errorf("rebuild group %d: %w", g.id, err)
		g.host.fatal.fail(err)
	}
	return err
}
