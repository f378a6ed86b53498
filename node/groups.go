package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/node/peer"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
	"github.com/chatnode/chatnode/shard/router"
	"github.com/chatnode/chatnode/store"
)

// mapFile keeps the newest map, so that a node finds the others again after a
// restart even when it holds no replica of the meta group.
const mapFile = "map"

// Timing of the agent. It acts when it is told; the ticks are for what nobody
// told it.
const (
	agentEvery      = 5 * time.Second
	agentRetry      = 20 * time.Millisecond // the first time, then twice as long each time
	agentRetryLater = 2 * time.Second       // at most
	fetchTimeout    = 3 * time.Second
)

// agent makes this node follow the placement map: it runs the groups that the
// map puts here, removes those that the map took away, and gives every newer map
// to those who route by it.
type agent struct {
	self   shard.NodeID
	dir    *store.Dir
	host   *raftgroup.Host
	router *router.Router
	pool   *peer.Pool
	log    *slog.Logger
	known  *atomic.Pointer[shard.Map] // the router's map, for those who are there before the router
	own    func() shard.Node          // how this node is reached now
	fatal  func(error)
	failed map[shard.GroupID]string // what was logged last of groups that cannot follow

	wake    chan struct{}
	metaIdx atomic.Uint64 // index of the newest entry of the meta group seen here

	adopting sync.Mutex // one at a time: the founder adopts besides the agent

	mu    sync.Mutex   // guards what follows
	ahead shard.NodeID // a node that has a newer map, "" when none is known
	told  func()       // after a newer map; must not block
}

// changed sets what is called after a newer map.
func (a *agent) changed(fn func()) {
	a.mu.Lock()
	a.told = fn
	a.mu.Unlock()
}

var errRemoved = chat.E("follow the cluster", chat.Forbidden,
	"this node was removed from the cluster; to come back, join with an empty data directory and a new node id", nil)

// poke makes the agent look. It does not block.
func (a *agent) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// heard is told, by other nodes' pings, of their maps and what they lead.
func (a *agent) heard(node shard.NodeID, epoch uint64, led []shard.GroupID) {
	for _, g := range led {
		a.router.LeaderChanged(g, node)
	}
	if m := a.router.Map(); m == nil || m.Epoch < epoch {
		a.mu.Lock()
		a.ahead = node
		a.mu.Unlock()
		a.poke()
	}
}

func (a *agent) run(ctx context.Context) { lookAgain(ctx, a.wake, a.look) }

// lookAgain calls look when it is woken, now and then, and after it was not done:
// soon at first, for most often something is under way, and rarely when that does
// not help.
func lookAgain(ctx context.Context, wake <-chan struct{}, look func(context.Context) (done bool)) {
	tick := time.NewTicker(agentEvery)
	defer tick.Stop()
	retry := time.NewTimer(agentEvery)
	defer retry.Stop()
	pause := agentRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
			pause = agentRetry
		case <-tick.C:
		case <-retry.C:
		}
		if look(ctx) {
			pause = agentRetry
			continue
		}
		retry.Reset(pause)
		pause = min(2*pause, agentRetryLater)
	}
}

// look takes the newest map there is and acts on it. It reports whether all is
// as the map wants.
func (a *agent) look(ctx context.Context) bool {
	seen := a.metaIdx.Load()
	current := a.host.Applied(shard.Meta) >= seen
	if m := a.readOwn(); m != nil && a.adopt(m) != nil {
		return true // the node ends
	}
	a.fetch(ctx)
	m := a.router.Map()
	if m == nil {
		return current // told when there is one, which may be just before it can be read
	}
	if _, member := m.Node(a.self); !member {
		a.fatal(errRemoved)
		return true
	}
	done := a.follow(m)
	a.announce(ctx, m)
	return done && current
}

// readOwn reads the map from the own replica of the meta group.
func (a *agent) readOwn() *shard.Map {
	v, err := a.host.View(shard.Meta)
	if err != nil {
		return nil // no replica here
	}
	defer v.Close() //nolint:errcheck // a view holds nothing that could be lost
	m, ok, err := meta.Read(v)
	if err != nil {
		a.fatal(fmt.Errorf("read the placement map: %w", err))
		return nil
	}
	if !ok {
		return nil
	}
	return m
}

// fetch asks the node that is known to have a newer map.
func (a *agent) fetch(ctx context.Context) {
	a.mu.Lock()
	node := a.ahead
	a.ahead = ""
	a.mu.Unlock()
	if node == "" || node == a.self {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	m, err := a.pool.Map(ctx, node)
	if err != nil {
		a.log.Debug("map not fetched", "node", node, "err", err)
		return // its next ping tells again
	}
	_ = a.adopt(m) // what it cannot do is fatal
}

// adopt keeps a newer map and gives it to those who route by it. When it returns,
// this map or a newer one is on disk; that it cannot be is fatal.
func (a *agent) adopt(m *shard.Map) error {
	a.adopting.Lock()
	defer a.adopting.Unlock()
	if old := a.router.Map(); old != nil && old.Epoch >= m.Epoch {
		return nil
	}
	if err := writeNew(filepath.Join(a.dir.Path(), mapFile), m.Append(nil)); err != nil {
		err = fmt.Errorf("keep the placement map: %w", err)
		a.fatal(err)
		return err
	}
	a.known.Store(m)
	a.router.SetMap(m)
	a.pool.SetMap(m)
	a.mu.Lock()
	told := a.told
	a.mu.Unlock()
	if told != nil {
		told()
	}
	return nil
}

// follow starts and removes groups as the map says. It reports whether all is
// done.
func (a *agent) follow(m *shard.Map) bool {
	done := true
	running := a.host.Groups()
	for i := range m.Groups {
		g := &m.Groups[i]
		runs := slices.Contains(running, g.ID)
		var err error
		switch {
		case g.Has(a.self) && !runs:
			err = a.start(g)
		case !g.Has(a.self) && runs:
			err = a.remove(g.ID)
		}
		if err == nil {
			delete(a.failed, g.ID)
			continue
		}
		done = false
		if errors.Is(err, store.ErrPromise) || chat.CodeOf(err) == chat.Corrupt {
			a.fatal(err)
			return true
		}
		if text := err.Error(); text != a.failed[g.ID] {
			a.failed[g.ID] = text
			a.log.Error("the placement map cannot be followed", "group", uint32(g.ID), "err", err)
		}
	}
	return done
}

// start runs the local replica of a group. The founder's first replica of a
// conversation group begins it, again when a crash has cut that short; every
// other one starts empty and is filled by the group's leader.
func (a *agent) start(g *shard.Group) error {
	if g.ID != shard.Meta && founding(g, a.self) {
		if err := a.host.Bootstrap(g.ID, []raftgroup.Server{{ID: a.self, Voter: true}}); err != nil {
			return err
		}
	}
	return a.host.Start(g.ID)
}

// founding reports whether the group is as the cluster's bootstrap made it,
// with self as its only replica.
func founding(g *shard.Group, self shard.NodeID) bool {
	return g.Epoch == 1 && len(g.Replicas) == 1 && g.Replicas[0] == self
}

// remove wipes a replica that the map has taken away, unless the group's own
// configuration still counts on it: then the map's next step comes first.
func (a *agent) remove(g shard.GroupID) error {
	servers, err := a.host.Configuration(g)
	if err == nil && a.host.IsLeader(g) && slices.ContainsFunc(servers, func(s raftgroup.Server) bool { return s.ID == a.self }) {
		return nil
	}
	a.log.Info("replica removed", "group", uint32(g))
	err = a.host.Remove(g)
	if g == shard.Meta {
		a.metaIdx.Store(0) // nothing is applied here any more: there is nothing to wait for
	}
	return err
}

// clear wipes what is left of replicas that the map has taken away, when a crash came
// before that was done. They are not started any more, so that nobody else would.
func (a *agent) clear(m *shard.Map) error {
	if _, member := m.Node(a.self); !member {
		return nil // nothing is started
	}
	for i := range m.Groups {
		g := &m.Groups[i]
		if g.Has(a.self) {
			continue
		}
		left, err := a.host.Holds(g.ID)
		if err == nil && left {
			a.log.Info("removing what is left of a replica", "group", uint32(g.ID))
			err = a.host.Remove(g.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// announce tells the cluster when this node is reached otherwise than the map
// says.
func (a *agent) announce(ctx context.Context, m *shard.Map) {
	own := a.own()
	known, ok := m.Node(own.ID)
	if !ok || known.Client == own.Client && known.Peer == own.Peer && known.Zone == own.Zone && known.Level == own.Level {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	res, err := a.router.ProposeMeta(ctx, meta.UpdateNode{Node: own})
	if err == nil && res.Code != chat.OK {
		err = chat.E("announce addresses", res.Code, res.Msg, nil)
	}
	if err != nil {
		a.log.Warn("the cluster does not know this node's new addresses yet", "err", err)
		return
	}
	a.log.Info("addresses announced", "client", own.Client, "peer", own.Peer)
}

// readMapFile gives the map that was kept, nil when there is none.
func readMapFile(dir string) (*shard.Map, error) {
	b, err := os.ReadFile(filepath.Join(dir, mapFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := shard.Decode(b)
	if err != nil {
		// It is a copy: the cluster has the truth.
		return nil, nil //nolint:nilerr // a damaged copy is as good as none
	}
	return m, nil
}

// watchedMeta is the meta group's machine that tells the agent when something
// was applied.
type watchedMeta struct {
	fsm.Machine
	applied func(index uint64)
}

// Apply implements [fsm.Machine].
func (w *watchedMeta) Apply(tx fsm.Writer, index uint64, payload []byte, dst []fsm.Result) ([]fsm.Result, error) {
	defer w.applied(index)
	return w.Machine.Apply(tx, index, payload, dst)
}

// Replay implements [fsm.Machine].
func (w *watchedMeta) Replay(tx fsm.Writer, index uint64, payload []byte) error {
	defer w.applied(index)
	return w.Machine.Replay(tx, index, payload)
}

// Reset implements [fsm.Machine]: after an install the rows are new.
func (w *watchedMeta) Reset() {
	w.Machine.Reset()
	w.applied(0)
}

func (a *agent) metaApplied(index uint64) {
	for {
		old := a.metaIdx.Load()
		if index <= old || a.metaIdx.CompareAndSwap(old, index) {
			break
		}
	}
	a.poke()
}
