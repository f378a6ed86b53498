package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup/transport"
	"github.com/chatnode/chatnode/store"
)

const (
	appendEntriesMax = transport.RequestEntriesMax // entries are batches
	snapshotNever    = 1 << 62                     // Raft takes no snapshots by itself: upkeep does
	trailingMin      = 128                         // entries that a cut always leaves
)

// group is one replica.
type group struct {
	host     *Host
	id       shard.GroupID
	log      *slog.Logger
	closeLog func() error // of a log with a file of its own
	logs     *logStore
	machine  *machine
	proposer *proposer
	readers  *readers
	snaps    *snapshotStore

	awaiting atomic.Int64                    // entries of the local proposer that Raft has
	lead     atomic.Pointer[leadership]      // while this replica leads and is ready
	raft     atomic.Pointer[raft.Raft]       // nil while the group is rebuilt
	trans    atomic.Pointer[transport.Group] // as raft
	gone     atomic.Pointer[chan struct{}]   // closed when that raft has ended; load it before raft
	crash    atomic.Pointer[crash]           // of the last leader whose process ended
	ahead    atomic.Int64                    // when a candidate's log was last found behind this one's, as mono.Now
	vain     vainTransfers
	promised atomic.Bool // it is on record that this replica votes
	mark     uint64      // of the log; set before Raft runs

	changing chan struct{} // the turn of a membership change
	cutting  chan struct{} // the turn of a cut, or of a snapshot on its way through Raft
	look     chan struct{} // asks the tenure to look

	life    sync.Mutex // one start, stop or rebuild at a time; guards what follows
	stopped bool
	run     *tenure
}

// openGroup opens the replica's log and state and starts its Raft.
func openGroup(h *Host, id shard.GroupID) (_ *group, err error) {
	g := &group{
		host: h, id: id, log: h.log.With("group", uint32(id)),
		changing: make(chan struct{}, 1), cutting: make(chan struct{}, 1), look: make(chan struct{}, 1),
	}
	log, closeLog, err := h.openLog(id)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeLog())
		}
	}()
	state, err := h.deps.State.Group(id)
	if err != nil {
		return nil, err
	}
	g.closeLog = closeLog
	g.logs = newLogStore(log, h.deps.NodeID, h.fatal.fail)
	g.logs.replica = g.raft.Load
	g.logs.voter = g.promiseVoter
	g.logs.truncated = func(from uint64) {
		if t := g.trans.Load(); t != nil {
			t.Truncated(from)
		}
	}
	g.machine = newMachine(id, state, h.deps.Machine(id), h.fatal.fail)
	g.machine.awaited = func() bool { return g.awaiting.Load() > 0 }
	g.machine.logged = log.LastIndex
	g.logs.applied = state.Applied
	g.snaps = &snapshotStore{state: state, installing: g.installing}
	if err := g.reconcile(); err != nil {
		return nil, err
	}
	g.logs.size.measure(log)
	log.NotifyDurable(g.durable)
	g.readers = &readers{g: g}
	g.proposer = newProposer(g, h.cfg.InFlightMax)
	if err := g.launch(); err != nil {
		g.proposer.stop()
		return nil, err
	}
	return g, nil
}

// openLog gives the log of a group and how to close it, when it is its own.
func (h *Host) openLog(id shard.GroupID) (store.GroupLog, func() error, error) {
	if h.usesBolt(id) {
		b, err := openBoltLog(BoltFile(h.cfg.BoltDir, id))
		if err != nil {
			return nil, nil, err
		}
		return b, b.Close, nil
	}
	l, err := h.deps.Logs.Group(id)
	return l, func() error { return nil }, err
}

func (h *Host) usesBolt(id shard.GroupID) bool {
	return h.cfg.BoltDir != "" && (h.cfg.BoltAll || id == shard.Meta)
}

// BoltFile names the file of a group's log in the directory of logs in Bolt.
func BoltFile(dir string, id shard.GroupID) string {
	return filepath.Join(dir, fmt.Sprintf("group-%d.bolt", id))
}

// reconcile compares log, state and promise before Raft sees them. A log that is
// of no use beside the state goes; the state is made durable before that, since the
// log may hold the only durable copy of what it contains.
func (g *group) reconcile() error {
	promise, err := g.checkMark()
	if err != nil {
		return err
	}
	log, state := g.logs.log, g.machine.state
	applied, _ := state.Applied()
	last, err := usable(log, state)
	if err != nil {
		return err
	}
	if end := log.LastIndex(); last < end {
		g.log.Warn("the log ends before the state, or contradicts it: dropping it", "last", end, "applied", applied)
		if err := state.Barrier(); err != nil {
			return err
		}
		if err := log.DeleteRange(log.FirstIndex(), end); err != nil {
			return err
		}
	}
	return g.checkPromise(promise, max(last, applied))
}

// durable is called by the log's writer after each fsync.
func (g *group) durable(index uint64) {
	g.logs.durable(index)
	if t := g.trans.Load(); t != nil {
		t.Durable()
	}
}

// installing is called before Raft swaps a received snapshot in, whose configuration
// it then has: the entry that made this node a voter may be in no log here.
func (g *group) installing(c raft.Configuration, bytes int64) error {
	g.logs.voters.Store(unknownVoters)
	if err := g.promiseIn(c); err != nil {
		return err
	}
	if m := g.host.deps.Metrics.Installed; m != nil {
		m(g.id, bytes)
	}
	return nil
}

// raftConfig is what every group runs with.
func (h *Host) raftConfig(log *slog.Logger, notify chan<- bool) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = h.id
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = h.cfg.Heartbeat, h.cfg.Heartbeat, h.cfg.Heartbeat
	c.CommitTimeout = h.cfg.CommitTimeout
	c.MaxAppendEntries = appendEntriesMax
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false // the owner removes what the cluster removed
	c.SnapshotInterval, c.SnapshotThreshold = 24*time.Hour, snapshotNever
	c.TrailingLogs = math.MaxInt64
	c.NoSnapshotRestoreOnStart = true
	c.NoLegacyTelemetry = true
	c.NotifyCh = notify
	c.Logger = newRaftLog(log)
	return c
}

// launch starts Raft on what is on disk. The caller holds life, or is alone.
func (g *group) launch() error {
	if data, at := g.machine.state.Configuration(); at > 0 { // of an install, perhaps
		c, err := decodeConfiguration(data)
		if err == nil {
			err = g.promiseIn(c)
		}
		if err != nil {
			return err
		}
	}
	t := newTenure(g)
	trans, err := g.host.hub.Group(g.id, transport.Options{
		DurableIndex: g.logs.log.DurableIndex,
		CurrentTerm:  g.currentTerm,
		FastHeartbeat: func(term uint64) bool {
			r := g.raft.Load()
			return r != nil && r.State() == raft.Follower && r.CurrentTerm() == term
		},
		Refused: g.outvoted,
		Wanted:  g.wants,
		Leading: g.leading,
		Entry:   g.logs.GetLog,
		Install: g.install,
	})
	if err != nil {
		return err
	}
	g.trans.Store(trans)
	r, err := newRaft(g.host.raftConfig(g.log, t.notify), g.machine, g.logs, g.snaps, trans)
	if err != nil {
		g.trans.Store(nil)
		return errors.Join(err, trans.Close())
	}
	gone := make(chan struct{})
	g.gone.Store(&gone)
	g.raft.Store(r)
	g.run = t
	t.start(r)
	g.warm()
	if v := voters(r.GetConfiguration().Configuration()); len(v) == 1 && v[0] == g.host.deps.NodeID {
		trans.Elect() // nobody else could lead
	}
	return nil
}

// newRaft turns the panics of Raft's start into errors.
func newRaft(c *raft.Config, m *machine, l *logStore, s *snapshotStore, t *transport.Group) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("start raft: %v", p)
		}
	}()
	return raft.NewRaft(c, m, l, l, s, t)
}

// currentTerm is what Verify answers with: no confirmation without a Raft.
func (g *group) currentTerm() uint64 {
	if r := g.raft.Load(); r != nil {
		return r.CurrentTerm()
	}
	return math.MaxUint64
}

// wants reports whether this replica leads and replicates to the peer.
func (g *group) wants(peer shard.NodeID) bool {
	r := g.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return false
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if shard.NodeID(s.ID) == peer {
			return true
		}
	}
	return false
}

// leading gives the log's last index while this replica leads in the term.
func (g *group) leading(term uint64) uint64 {
	r := g.raft.Load()
	if r == nil || r.State() != raft.Leader || r.CurrentTerm() != term {
		return 0
	}
	return r.LastIndex()
}

// halt ends Raft and what follows it. The caller holds life.
func (g *group) halt() {
	trans, r := g.trans.Load(), g.raft.Load()
	if trans == nil {
		return
	}
	_ = trans.Close() // first: Raft waits for what waits in it; never fails
	if r != nil {
		if err := r.Shutdown().Error(); err != nil {
			g.log.Warn("raft did not stop cleanly", "err", err)
		}
	}
	g.raft.Store(nil)
	if r != nil {
		close(*g.gone.Load()) // what Raft has not answered until here it never will
	}
	g.run.stop()
	g.run = nil
	g.trans.Store(nil)
	g.readers.expire(0, true)
}

// stop ends the replica and waits for it.
func (g *group) stop() {
	g.life.Lock()
	defer g.life.Unlock()
	if g.stopped {
		return
	}
	g.stopped = true
	g.halt()
	g.proposer.stop()
	g.machine.abandon(errStopping)
	g.logs.log.NotifyDurable(nil)
	if g.host.fatal.err.Load() == nil {
		if last := g.logs.log.LastIndex(); last > 0 && g.logs.log.WaitDurable(last) == nil {
			g.promiseLog()
		}
	}
	if err := g.closeLog(); err != nil {
		g.log.Warn("cannot close the log", "err", err)
	}
}

// wipeGroup removes all of a group from this node. The promise goes first: one
// without its log would refuse the group for ever, were it to come back.
func wipeGroup(h *Host, id shard.GroupID) error {
	if h.deps.Promises != nil {
		if err := h.deps.Promises.Forget(id); err != nil {
			return err
		}
	}
	var errs []error
	if h.usesBolt(id) {
		errs = append(errs, removeBoltLog(BoltFile(h.cfg.BoltDir, id)))
	} else {
		errs = append(errs, h.deps.Logs.Drop(id))
	}
	state, err := h.deps.State.Group(id)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, state.Drop())...)
}

// waitFuture waits for one of Raft's futures as long as ctx allows.
func waitFuture(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
