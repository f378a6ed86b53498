package router

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/shard"
)

// Router routes the requests of one node. Its methods may be called from any
// goroutine.
type Router struct {
	cfg  Config
	deps Deps

	m      atomic.Pointer[shard.Map] // nil until a map is known
	groups [shard.GroupsMax + 1]group

	flying atomic.Int64 // proposals in flight and waiting
	bytes  atomic.Int64 // of their commands
	reads  atomic.Int64
	pool   sync.Pool // of *proposal

	wake    chan struct{} // of depth 1: the keeper has something to look at
	stop    chan struct{}
	stopped chan struct{}
	closing atomic.Bool

	watchMu  sync.Mutex // guards watchers
	watchers map[*watcher]struct{}
}

type watcher struct{ changed func() }

// New makes a router and starts its keeper. Until [Router.SetMap] it knows the
// meta group only.
func New(cfg Config, deps Deps) (*Router, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{
		cfg: cfg, deps: deps,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
		watchers: make(map[*watcher]struct{}),
	}
	for i := range r.groups {
		r.groups[i].r, r.groups[i].id = r, shard.GroupID(i)
		r.groups[i].round = 1 // no attempt of this one has failed
	}
	r.pool.New = func() any { return newProposal() }
	go r.keep()
	return r, nil
}

// Close fails what waits with shutting_down or unavailable and stops the keeper.
func (r *Router) Close() {
	if r.closing.Swap(true) {
		<-r.stopped
		return
	}
	close(r.stop)
	<-r.stopped
}

// SetMap gives a newer map; an older one is ignored.
func (r *Router) SetMap(m *shard.Map) {
	for {
		old := r.m.Load()
		if old != nil && old.Epoch >= m.Epoch {
			return
		}
		if r.m.CompareAndSwap(old, m) {
			r.nudge()
			return
		}
	}
}

// Map is the newest map, nil while none is known.
func (r *Router) Map() *shard.Map { return r.m.Load() }

// GroupOf is the group of a key.
func (r *Router) GroupOf(key string) (shard.GroupID, error) {
	m := r.m.Load()
	if m == nil {
		return 0, chat.E("route", chat.Unavailable, "this node does not know the cluster yet", nil)
	}
	return m.GroupOfKey(key), nil
}

// Propose brings an encoded conversation command to the leader of key's group
// and sends the same bytes again over leader changes until the deadline. It
// does not block. done is called exactly once, maybe before Propose returns,
// and must not be held up. cmd belongs to the router from then on.
func (r *Router) Propose(key string, cmd []byte, deadline time.Time, done func(fsm.Result, error)) {
	g, err := r.GroupOf(key)
	if err != nil {
		done(fsm.Result{}, err)
		return
	}
	r.propose(g, cmd, deadline, done)
}

// ProposeWait is Propose for a caller that can wait. The deadline is the
// context's.
func (r *Router) ProposeWait(ctx context.Context, key string, cmd []byte) (fsm.Result, error) {
	g, err := r.GroupOf(key)
	if err != nil {
		return fsm.Result{}, err
	}
	return r.wait(ctx, g, cmd)
}

// ProposeMeta brings a command to the meta group.
func (r *Router) ProposeMeta(ctx context.Context, cmd meta.Command) (fsm.Result, error) {
	return r.wait(ctx, shard.Meta, meta.Encode(nil, cmd))
}

func (r *Router) wait(ctx context.Context, g shard.GroupID, cmd []byte) (fsm.Result, error) {
	type answer struct {
		res fsm.Result
		err error
	}
	ch := make(chan answer, 1)
	deadline, _ := ctx.Deadline()
	r.propose(g, cmd, deadline, func(res fsm.Result, err error) { ch <- answer{res, err} })
	select {
	case a := <-ch:
		return a.res, a.err
	case <-ctx.Done():
		return fsm.Result{}, errUnavailable(true)
	}
}

// LeaderOf gives the node that leads conv's group, as far as this node knows.
func (r *Router) LeaderOf(conv chat.ConvID) (node shard.NodeID, ok bool) {
	g, err := r.GroupOf(string(conv))
	if err != nil {
		return "", false
	}
	return r.GroupLeader(g)
}

// GroupLeader gives the node that leads g, as far as this node knows.
func (r *Router) GroupLeader(g shard.GroupID) (node shard.NodeID, ok bool) {
	if int(g) >= len(r.groups) {
		return "", false
	}
	return r.groups[g].known()
}

// LeaderChanged tells the router what a group's replica, here or elsewhere, has
// learnt: node leads g ("" for nobody).
func (r *Router) LeaderChanged(g shard.GroupID, node shard.NodeID) {
	if int(g) < len(r.groups) && r.groups[g].learn(node) {
		r.nudge()
		r.notify()
	}
}

// Watch calls changed, which must not block, after any leader changed.
func (r *Router) Watch(changed func()) (stop func()) {
	w := &watcher{changed}
	r.watchMu.Lock()
	r.watchers[w] = struct{}{}
	r.watchMu.Unlock()
	return func() {
		r.watchMu.Lock()
		delete(r.watchers, w)
		r.watchMu.Unlock()
	}
}

func (r *Router) notify() {
	r.watchMu.Lock()
	defer r.watchMu.Unlock()
	for w := range r.watchers {
		w.changed()
	}
}

// Led appends the groups that this node leads to dst.
func (r *Router) Led(dst []shard.GroupID) []shard.GroupID {
	n := 1
	if m := r.m.Load(); m != nil {
		n = len(m.Groups)
	}
	for g := range shard.GroupID(n) {
		if r.deps.Local.IsLeader(g) {
			dst = append(dst, g)
		}
	}
	return dst
}

// InFlight is the number of proposals in flight and waiting, and their bytes.
func (r *Router) InFlight() (proposals, bytes int64) { return r.flying.Load(), r.bytes.Load() }

func (r *Router) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
