package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// Config is what a [Hub] needs. Listener yields connections of this package
// only; TLS, where it is used, is on the connections already.
type Config struct {
	Cluster  string
	NodeID   shard.NodeID
	Listener net.Listener
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	// Address says where a node listens now; "" when it is not known.
	Address func(shard.NodeID) string
	// VerifyPeer checks that a connection is that of the node it names, on
	// either side; nil takes the name as given.
	VerifyPeer func(id shard.NodeID, conn net.Conn) error
	// OnDead is told, at most once a second for each peer, that a peer's process
	// has ended: its connection broke and a new dial was refused, or it greeted
	// as another process. It must not block.
	OnDead func(shard.NodeID)
	// BeatEvery is the time between two ticks, at which the heartbeats of all
	// groups leave together; 0 sends each at once.
	BeatEvery time.Duration
	// StallTimeout ends a connection that owes answers and is silent.
	StallTimeout time.Duration
	// InstallBytesPerSec bounds one snapshot stream; 0 is unbounded.
	InstallBytesPerSec int64
	Logger             *slog.Logger
}

const (
	dialTimeout     = time.Second
	inboundMax      = 4 * shard.NodesMax // connections at a time
	deadEvery       = time.Second
	suspectFor      = 500 * time.Millisecond
	demandFor       = 10 * time.Second
	redialFirst     = 2 * time.Millisecond
	redialLongest   = 250 * time.Millisecond
	stallCheckEvery = 500 * time.Millisecond
)

// Hub is the node's end of all connections to other nodes.
type Hub struct {
	cfg    Config
	log    *slog.Logger
	boot   uint64
	stats  counters
	ctx    context.Context //nolint:containedctx // the life of the hub: dials end with it
	cancel context.CancelFunc
	wg     sync.WaitGroup
	places chan struct{} // installs at a time on this node
	tick   *ticker

	mu      sync.RWMutex // guards what follows
	closed  bool
	groups  map[shard.GroupID]*Group
	peers   map[shard.NodeID]*peer
	inbound map[net.Conn]struct{}
}

type counters struct {
	bytes, writes, frames, dials, breaks atomic.Uint64
}

// Stats is a sample of the counters since the hub was opened.
type Stats struct {
	BytesSent, Writes, FramesSent, Dials, Breaks uint64
}

// NewHub opens the hub and serves the listener.
func NewHub(cfg Config) (*Hub, error) {
	switch {
	case cfg.Listener == nil || cfg.Dial == nil || cfg.Address == nil:
		return nil, errors.New("transport: listener, dial and address are needed")
	case !shard.ValidCluster(cfg.Cluster) || !shard.ValidNodeID(cfg.NodeID):
		return nil, fmt.Errorf("transport: cluster %q or node id %q is not valid", cfg.Cluster, cfg.NodeID)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.StallTimeout <= 0 {
		cfg.StallTimeout = 2 * time.Second
	}
	h := &Hub{
		cfg:     cfg,
		log:     cfg.Logger,
		boot:    rand.Uint64() | 1,
		places:  make(chan struct{}, 1),
		tick:    newTicker(cfg.BeatEvery),
		groups:  make(map[shard.GroupID]*Group),
		peers:   make(map[shard.NodeID]*peer),
		inbound: make(map[net.Conn]struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.wg.Go(h.accept)
	h.wg.Go(h.watchStalls)
	return h, nil
}

// Close ends all connections and waits for every goroutine.
func (h *Hub) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	groups := make([]*Group, 0, len(h.groups))
	for _, g := range h.groups {
		groups = append(groups, g)
	}
	for c := range h.inbound {
		_ = c.Close() // its handler ends by it
	}
	peers := make([]*peer, 0, len(h.peers))
	for _, p := range h.peers {
		peers = append(peers, p)
	}
	h.mu.Unlock()
	h.cancel()
	h.tick.stop()
	err := h.cfg.Listener.Close()
	for _, g := range groups {
		_ = g.Close() // never fails
	}
	for _, p := range peers {
		p.drop(chat.E("raft transport", chat.ShuttingDn, "", nil))
	}
	h.wg.Wait()
	return err
}

// Stats samples the counters.
func (h *Hub) Stats() Stats {
	return Stats{
		BytesSent: h.stats.bytes.Load(), Writes: h.stats.writes.Load(), FramesSent: h.stats.frames.Load(),
		Dials: h.stats.dials.Load(), Breaks: h.stats.breaks.Load(),
	}
}

// Connected reports whether messages to the peer have a connection.
func (h *Hub) Connected(id shard.NodeID) bool {
	h.mu.RLock()
	p := h.peers[id]
	h.mu.RUnlock()
	return p != nil && p.connected()
}

// Want asks for a connection to a peer, to have one when it is needed.
func (h *Hub) Want(id shard.NodeID) {
	if p, err := h.peer(id); err == nil {
		p.demand()
	}
}

// spawn runs fn as a goroutine that Close waits for; false when closed.
func (h *Hub) spawn(fn func()) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return false
	}
	h.wg.Go(fn)
	return true
}

func (h *Hub) group(g shard.GroupID) *Group {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.groups[g]
}

// peer gives the outbound side to a node, made on first use.
func (h *Hub) peer(id shard.NodeID) (*peer, error) {
	h.mu.RLock()
	p, closed := h.peers[id], h.closed
	h.mu.RUnlock()
	if closed {
		return nil, errHubClosed()
	}
	if p != nil {
		return p, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, errHubClosed()
	case h.peers[id] != nil:
		return h.peers[id], nil
	case !shard.ValidNodeID(id) || id == h.cfg.NodeID || len(h.peers) >= 4*shard.NodesMax:
		return nil, fmt.Errorf("no peer %q", id)
	}
	p = newPeer(h, id)
	h.peers[id] = p
	return p, nil
}

func errHubClosed() error { return chat.E("raft transport", chat.ShuttingDn, "", nil) }

func (h *Hub) accept() {
	for {
		conn, err := h.cfg.Listener.Accept()
		if err != nil {
			if h.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			h.log.Warn("cannot accept a peer", "err", err)
			select {
			case <-h.ctx.Done():
				return
			case <-time.After(redialLongest):
			}
			continue
		}
		if !h.admit(conn) {
			_ = conn.Close() // refused: too many, or closing
		}
	}
}

func (h *Hub) admit(conn net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.inbound) >= inboundMax {
		return false
	}
	h.inbound[conn] = struct{}{}
	h.wg.Go(func() {
		h.serve(conn)
		_ = conn.Close() // most often closed already
		h.mu.Lock()
		delete(h.inbound, conn)
		h.mu.Unlock()
	})
	return true
}

// watchStalls ends connections that owe answers and have been silent.
func (h *Hub) watchStalls() {
	tick := time.NewTicker(stallCheckEvery)
	defer tick.Stop()
	var peers []*peer
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		peers = peers[:0]
		h.mu.RLock()
		for _, p := range h.peers {
			peers = append(peers, p)
		}
		h.mu.RUnlock()
		for _, p := range peers { // unlocked: a peer's lock comes before the hub's
			p.checkStall(h.cfg.StallTimeout)
		}
	}
}
