package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup/transport"
	"github.com/chatnode/chatnode/store"
)

// Server is a member of a group.
type Server struct {
	ID    shard.NodeID
	Voter bool
}

// Host runs the node's replicas of Raft groups.
type Host struct {
	cfg   Config
	deps  Deps
	id    raft.ServerID
	log   *slog.Logger
	now   func() time.Time
	hub   *transport.Hub
	fatal onceFatal

	ctx    context.Context //nolint:containedctx // the life of the host
	cancel context.CancelFunc
	wg     sync.WaitGroup

	groups [shard.GroupsMax + 1]atomic.Pointer[group]

	mu     sync.Mutex // one start or stop of a group at a time; guards closed
	closed bool

	watch    sync.Mutex // guards what follows; the groups' goroutines take it
	sink     func(shard.GroupID) fsm.Sink
	watchers map[int]func(Change)
	nextID   int
}

// onceFatal passes on the first fatal error.
type onceFatal struct {
	once sync.Once
	fn   func(error)
	err  atomic.Pointer[error]
}

func (f *onceFatal) fail(err error) {
	if errors.Is(err, store.ErrClosed) {
		return // the node is stopping
	}
	f.once.Do(func() {
		f.err.Store(&err)
		if f.fn != nil {
			go f.fn(err) // called under locks and on Raft's goroutines
		}
	})
}

// Open makes a host. Its groups are started one by one.
func Open(cfg Config, deps Deps) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("raft host: %w", err)
	}
	if deps.Logs == nil || deps.State == nil || deps.Machine == nil {
		return nil, errors.New("raft host: logs, state and machine are needed")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Host{
		cfg: cfg, deps: deps, id: raft.ServerID(deps.NodeID), log: deps.Logger, now: deps.Now,
		fatal:    onceFatal{fn: deps.Fatal},
		watchers: make(map[int]func(Change)),
	}
	if h.now == nil {
		h.now = time.Now
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	var err error
	h.hub, err = transport.NewHub(transport.Config{
		Cluster: deps.Cluster, NodeID: deps.NodeID, Listener: deps.Listener, Dial: deps.Dial,
		Address: deps.Addresses, VerifyPeer: deps.VerifyPeer, OnDead: h.peerDead,
		BeatEvery: cfg.Heartbeat * 2 / 5, StallTimeout: max(2*time.Second, 4*cfg.Heartbeat),
		InstallBytesPerSec: cfg.InstallBytesPerSec, Logger: deps.Logger,
	})
	if err != nil {
		h.cancel()
		return nil, err
	}
	h.wg.Go(h.upkeep)
	return h, nil
}

// Shutdown gives leaderships away, as far as ctx allows, and closes the host.
func (h *Host) Shutdown(ctx context.Context) error {
	h.giveUpAll(ctx)
	return h.Close()
}

// Close stops every group at once and waits for all goroutines.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	var errs []error
	var wg sync.WaitGroup
	for i := range h.groups {
		if g := h.groups[i].Swap(nil); g != nil {
			wg.Go(func() { g.stop() })
		}
	}
	wg.Wait()
	errs = append(errs, h.hub.Close())
	h.wg.Wait()
	return errors.Join(errs...)
}

// group gives the running replica of g, or nil.
func (h *Host) group(g shard.GroupID) *group {
	if g > shard.GroupsMax {
		return nil
	}
	return h.groups[g].Load()
}

// Groups lists the running groups.
func (h *Host) Groups() []shard.GroupID {
	var out []shard.GroupID
	for i := range h.groups {
		if h.groups[i].Load() != nil {
			out = append(out, shard.GroupID(i))
		}
	}
	return out
}

// Bootstrap writes the first configuration of a new group. Exactly one node does
// it, before Start. For a group that has begun here it does nothing, so it may be
// called at every start: what a crash has ended is completed.
func (h *Host) Bootstrap(g shard.GroupID, servers []Server) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errStopping
	}
	if g > shard.GroupsMax {
		return fmt.Errorf("group %d is over the limit of %d", g, shard.GroupsMax)
	}
	if gr := h.groups[g].Load(); gr != nil {
		if gr.logs.log.LastIndex() == 0 && gr.machine.applied.Load() == 0 {
			return fmt.Errorf("bootstrap of group %d: its replica runs already and waits to be added", g)
		}
		return nil
	}
	return bootstrapGroup(h, g, servers)
}

// Start runs the local replica of g. A replica of a group that another node
// bootstrapped starts empty and waits to be added.
func (h *Host) Start(g shard.GroupID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errStopping
	}
	if g > shard.GroupsMax {
		return fmt.Errorf("group %d is over the limit of %d", g, shard.GroupsMax)
	}
	if h.groups[g].Load() != nil {
		return nil
	}
	gr, err := openGroup(h, g)
	if err != nil {
		return fmt.Errorf("start group %d: %w", g, err)
	}
	h.groups[g].Store(gr)
	return nil
}

// Stop ends the local replica of g; its data stays.
func (h *Host) Stop(g shard.GroupID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g > shard.GroupsMax {
		return
	}
	if gr := h.groups[g].Swap(nil); gr != nil {
		gr.stop()
	}
}

// Remove stops the local replica of g and wipes its log and state. The replica
// was removed from the group's configuration before.
func (h *Host) Remove(g shard.GroupID) error {
	h.Stop(g)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.groups[g].Load() != nil {
		return fmt.Errorf("group %d was started again", g)
	}
	return wipeGroup(h, g)
}

// Holds reports whether something of a replica of g is on this node, whether it runs or
// not.
func (h *Host) Holds(g shard.GroupID) (bool, error) {
	if h.group(g) != nil {
		return true, nil
	}
	if h.deps.Promises != nil {
		if _, ok := h.deps.Promises.Promise(g); ok {
			return true, nil
		}
	}
	if h.usesBolt(g) {
		if _, err := os.Stat(BoltFile(h.cfg.BoltDir, g)); !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	} else if slices.Contains(h.deps.Logs.Groups(), g) {
		return true, nil
	}
	state, err := h.deps.State.Group(g)
	if err != nil {
		return false, err
	}
	applied, _ := state.Applied()
	return applied > 0, nil
}

// Propose queues an encoded command, checked before, with the group's proposer.
// done runs exactly once: at once when it is refused, else on the group's
// goroutine, which it must not block. cmd is not kept after done.
func (h *Host) Propose(g shard.GroupID, cmd []byte, done func(fsm.Result, error)) {
	gr := h.group(g)
	if gr == nil {
		done(fsm.Result{}, errNoGroup)
		return
	}
	gr.proposer.propose(cmd, done)
}

// View takes a consistent snapshot of the local state of g. Close it soon.
func (h *Host) View(g shard.GroupID) (*store.View, error) {
	gr := h.group(g)
	if gr == nil {
		return nil, errNoGroup
	}
	return gr.machine.state.View()
}

// Applied is the last entry that the local state of g contains.
func (h *Host) Applied(g shard.GroupID) uint64 {
	gr := h.group(g)
	if gr == nil {
		return 0
	}
	return gr.machine.applied.Load()
}

// WaitApplied returns when the local state of g contains the entry.
func (h *Host) WaitApplied(ctx context.Context, g shard.GroupID, index uint64) error {
	gr := h.group(g)
	if gr == nil {
		return errNoGroup
	}
	answer := make(chan error, 1)
	gr.machine.whenApplied(index, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return chat.E("wait for entry", chat.Timeout, "", context.Cause(ctx))
	}
}

// SetSink sets where the events of each group go while this node leads it.
func (h *Host) SetSink(sink func(shard.GroupID) fsm.Sink) {
	h.watch.Lock()
	h.sink = sink
	h.watch.Unlock()
	for i := range h.groups {
		if g := h.groups[i].Load(); g != nil {
			g.reattach()
		}
	}
}

func (h *Host) sinkOf(g shard.GroupID) fsm.Sink {
	h.watch.Lock()
	fn := h.sink
	h.watch.Unlock()
	if fn == nil {
		return nil
	}
	return fn(g)
}

// Change tells of a leader.
type Change struct {
	Group  shard.GroupID
	Leader shard.NodeID // "" when none is known
	Term   uint64
	Local  bool // this node leads and takes proposals and reads
}

// Watch calls fn, which must not block, after each change of a leader that this
// node sees; the last call for a group has what holds now. The returned function
// ends it.
func (h *Host) Watch(fn func(Change)) (cancel func()) {
	h.watch.Lock()
	defer h.watch.Unlock()
	id := h.nextID
	h.nextID++
	h.watchers[id] = fn
	return func() {
		h.watch.Lock()
		defer h.watch.Unlock()
		delete(h.watchers, id)
	}
}

func (h *Host) tell(c Change) {
	h.watch.Lock()
	fns := make([]func(Change), 0, len(h.watchers))
	for _, fn := range h.watchers {
		fns = append(fns, fn)
	}
	h.watch.Unlock()
	for _, fn := range fns {
		fn(c)
	}
}

// Leader is who the local replica of g takes for the leader.
func (h *Host) Leader(g shard.GroupID) (shard.NodeID, bool) {
	gr := h.group(g)
	if gr == nil {
		return "", false
	}
	id := gr.leader()
	return id, id != ""
}

// IsLeader reports whether this node leads g and takes proposals and reads.
func (h *Host) IsLeader(g shard.GroupID) bool {
	gr := h.group(g)
	return gr != nil && gr.leads()
}

// Led lists the groups that this node leads.
func (h *Host) Led() []shard.GroupID {
	return slices.DeleteFunc(h.Groups(), func(g shard.GroupID) bool { return !h.IsLeader(g) })
}

// TransportStats samples the counters of the connections to other nodes.
func (h *Host) TransportStats() transport.Stats { return h.hub.Stats() }
