package peer

import (
	"context"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/router"
)

// PoolDeps are what a pool works with.
type PoolDeps struct {
	Identity Identity
	Dial     Dialer
	// Heard is told, about each ping, the epoch of a node's map and the groups
	// that it leads. It must not block.
	Heard  func(node shard.NodeID, epoch uint64, led []shard.GroupID)
	Logger *slog.Logger
}

// Pool is this node's connections to all others: three to each, so that pages
// and feeds do not stand in the way of proposals. It implements router.Remote.
type Pool struct {
	cfg    Config
	deps   PoolDeps
	pool   bytePool
	links  atomic.Pointer[map[shard.NodeID]*link]
	ctx    context.Context // the pool's own life
	cancel context.CancelFunc
	wg     sync.WaitGroup // of the pinger and all links

	mu sync.Mutex // one change of links at a time
}

var _ router.Remote = (*Pool)(nil)

// NewPool makes a pool without connections; see SetMap.
func NewPool(cfg Config, deps PoolDeps) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pool{cfg: cfg, deps: deps}
	p.ctx, p.cancel = context.WithCancel(context.Background()) // ends with Close
	p.links.Store(&map[shard.NodeID]*link{})
	p.wg.Go(p.ping)
	return p, nil
}

// Close breaks all connections and waits.
func (p *Pool) Close() {
	p.mu.Lock()
	p.cancel()
	for _, l := range *p.links.Load() {
		l.close()
	}
	p.links.Store(&map[shard.NodeID]*link{})
	p.mu.Unlock()
	p.wg.Wait()
}

// SetMap connects to the nodes of m and leaves those that are not in it.
func (p *Pool) SetMap(m *shard.Map) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	old := *p.links.Load()
	links := make(map[shard.NodeID]*link, len(m.Nodes))
	for i := range m.Nodes {
		n := &m.Nodes[i]
		if n.ID == p.deps.Identity.Self {
			continue
		}
		if l := old[n.ID]; l != nil && l.addr == n.Peer {
			links[n.ID] = l
		} else if l, err := p.open(n.ID, n.Peer); err == nil {
			links[n.ID] = l
		} else {
			p.deps.Logger.Warn("cannot connect to a node of the map", "node", n.ID, "err", err)
		}
	}
	p.links.Store(&links)
	for id, l := range old {
		if links[id] != l {
			l.close()
		}
	}
}

func (p *Pool) link(node shard.NodeID) *link { return (*p.links.Load())[node] }

// Up implements router.Remote.
func (p *Pool) Up(node shard.NodeID) bool {
	l := p.link(node)
	return l != nil && l.calls.up()
}

// Propose implements router.Remote.
func (p *Pool) Propose(node shard.NodeID, g shard.GroupID, cmd []byte, c router.Caller, token uint64) error {
	l := p.link(node)
	if l == nil {
		return errDown(node)
	}
	s := l.calls.cur.Load()
	if s == nil || !s.up() {
		return errDown(node)
	}
	var head [binary.MaxVarintLen32]byte
	_, err := s.call(kindPropose, binary.AppendUvarint(head[:0], uint64(g)), cmd, slot{caller: c, token: token})
	return err
}

// Read implements router.Remote.
func (p *Pool) Read(ctx context.Context, node shard.NodeID, g shard.GroupID, req []byte) ([]byte, error) {
	l := p.link(node)
	if l == nil {
		return nil, errDown(node)
	}
	s := l.reads.cur.Load()
	if s == nil || !s.up() {
		return nil, errDown(node)
	}
	left := time.Minute
	if at, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(at))
	}
	var room [2 * binary.MaxVarintLen64]byte
	head := binary.AppendUvarint(room[:0], uint64(g))
	head = binary.AppendUvarint(head, uint64(max(left.Milliseconds(), 1)))
	ch := make(chan answer, 1)
	id, err := s.call(kindRead, head, req, slot{data: ch})
	if err != nil {
		return nil, err
	}
	select {
	case a := <-ch:
		return a.body, a.err
	case <-ctx.Done():
		s.abandon(id)
		return nil, chat.E("read", chat.Timeout, "no answer in time", ctx.Err())
	}
}

// Feed gives the feed of what node leads. It may be asked for at any time and
// follows the node's connection.
func (p *Pool) Feed(node shard.NodeID) fanout.Feed {
	if l := p.link(node); l != nil {
		return l.feed
	}
	return noFeed{}
}

// noFeed is the feed of a node that is not in the map.
type noFeed struct{}

// Attach implements fanout.Feed.
func (noFeed) Attach(c chat.ConvID, r fanout.Receiver, _ func()) { r.Lost(c) }

// Detach implements fanout.Feed.
func (noFeed) Detach(chat.ConvID, fanout.Receiver) {}

// Status asks a node for its status.
func (p *Pool) Status(ctx context.Context, node shard.NodeID) (shard.NodeStatus, error) {
	out, err := p.control(ctx, node, &controlCall{Op: opStatus})
	if err != nil || out.Status == nil {
		return shard.NodeStatus{}, err
	}
	return *out.Status, nil
}

// Map asks a node for its map.
func (p *Pool) Map(ctx context.Context, node shard.NodeID) (*shard.Map, error) {
	out, err := p.control(ctx, node, &controlCall{Op: opMap})
	if err != nil {
		return nil, err
	}
	return shard.Decode(out.Map)
}

// Change asks a node, which leads the group, to change it.
func (p *Pool) Change(ctx context.Context, node shard.NodeID, c shard.Change) error {
	_, err := p.control(ctx, node, &controlCall{Op: opChange, Change: &c})
	return err
}

func (p *Pool) control(ctx context.Context, node shard.NodeID, call *controlCall) (controlAnswer, error) {
	l := p.link(node)
	if l == nil {
		return controlAnswer{}, errDown(node)
	}
	call.Cluster, call.To = p.deps.Identity.Cluster(), node
	return invoke(ctx, l.reads.cc, call)
}

// ping keeps every stream under watch from one goroutine.
func (p *Pool) ping() {
	t := time.NewTicker(p.cfg.PingEvery)
	defer t.Stop()
	for nth := uint64(0); ; nth++ {
		select {
		case <-p.ctx.Done():
			return
		case now := <-t.C:
			for _, l := range *p.links.Load() {
				l.calls.tick(&p.cfg, now, nth)
				l.reads.tick(&p.cfg, now, nth)
				l.feed.tick(&p.cfg, now, nth)
			}
		}
	}
}

// idlePings is how many ticks pass between two pings of a stream on which no
// call is outstanding. One that is relied on for what it brings by itself (who
// leads, new entries) is asked often; any other only so that routers on the way do not
// forget it, for each ping wakes two nodes, and a call on it is watched anyway.
func idlePings(relied bool) uint64 {
	if relied {
		return 4
	}
	return 40
}

func connectParams(pauseMax time.Duration) grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: pauseMax},
		MinConnectTimeout: 2 * time.Second,
	}
}
