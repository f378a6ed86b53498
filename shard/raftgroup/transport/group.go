package transport

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// Options are what a [Group] asks of its replica. The functions may be called
// from read loops and must not block.
type Options struct {
	// DurableIndex is the last index of the local log that survives a power cut.
	DurableIndex func() uint64
	// CurrentTerm is the highest term the replica has seen, already persisted.
	CurrentTerm func() uint64
	// FastHeartbeat reports whether a heartbeat of a term needs no change of
	// state: the replica follows in that term.
	FastHeartbeat func(term uint64) bool
	// Refused is told of a candidate that the replica refused its vote: the term
	// asked for and the candidate's last entry. Nil: nobody wants to know.
	Refused func(term, logTerm, index uint64)
	// Wanted reports whether the replica leads and has the peer in its
	// configuration. Replication to a peer that cannot be reached waits while so.
	Wanted func(peer shard.NodeID) bool
	// Leading gives the last index of the local log while the replica leads in
	// the term, else 0; Entry reads one of the log's entries. Nil: requests go
	// out as Raft made them.
	Leading func(term uint64) uint64
	Entry   func(index uint64, into *raft.Log) error
	// Install takes a snapshot. pass hands the rest of the stream to Raft.
	// Called from a goroutine of its own, one at a time on a node.
	Install func(ctx context.Context, req *raft.InstallSnapshotRequest, data io.Reader,
		pass func(data io.Reader) (*raft.InstallSnapshotResponse, error)) (*raft.InstallSnapshotResponse, error)
}

const (
	deliverMax   = 128 // requests that wait for a group's Raft
	pipelineMax  = 32  // AppendEntries in flight to one follower
	wantedEvery  = time.Second
	retryFirst   = 10 * time.Millisecond // before entries are sent again
	retryLongest = 160 * time.Millisecond
	rpcTimeout   = 10 * time.Second // of everything but entries and snapshots
)

var (
	errGroupClosed = chat.E("raft transport", chat.ShuttingDn, "the group is closed", nil)
	errTruncated   = errors.New("the entries were replaced before they were durable")
)

// Group is the raft.Transport of one group.
type Group struct {
	hub  *Hub
	id   shard.GroupID
	opts Options

	ctx    context.Context //nolint:containedctx // the life of the group
	cancel context.CancelFunc
	ended  chan struct{} // the responder has ended

	rpcs    chan raft.RPC
	answers chan raft.RPCResponse
	beat    atomic.Pointer[func(raft.RPC)]

	mu       sync.Mutex // guards what follows
	closed   bool
	queue    []waiting // requests that Raft has, oldest first
	holds    []hold    // answers that wait for the local disk
	progress map[shard.NodeID]*Progress
}

// Progress is how far a peer is, as the local leader sees it.
type Progress struct {
	Match   uint64    // last entry that it is known to have
	Durable uint64    // last entry that it, and the log here, acknowledged as durable
	Contact time.Time // its last answer
}

var (
	_ raft.Transport   = (*Group)(nil)
	_ raft.WithPreVote = (*Group)(nil)
)

// waiting is a request that was given to Raft and has no answer yet.
type waiting struct {
	link *link // nil: the request was made here
	req  uint64
	kind kind
	last uint64 // index of the last entry it carries, 0 without
	vote *raft.RequestVoteRequest
}

// Group makes the transport of a group. Its Raft reads Consumer until Close.
func (h *Hub) Group(id shard.GroupID, o Options) (*Group, error) {
	g := &Group{
		hub: h, id: id, opts: o,
		ended:    make(chan struct{}),
		rpcs:     make(chan raft.RPC, deliverMax),
		answers:  make(chan raft.RPCResponse, deliverMax),
		progress: make(map[shard.NodeID]*Progress),
	}
	g.ctx, g.cancel = context.WithCancel(h.ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		g.cancel()
		return nil, errHubClosed()
	}
	if h.groups[id] != nil {
		g.cancel()
		return nil, chat.E("raft transport", chat.Exists, "the group is open", nil)
	}
	h.groups[id] = g
	h.wg.Go(g.respond)
	return g, nil
}

// Close ends the group: what waits for it fails. Raft has stopped before.
func (g *Group) Close() error {
	g.hub.mu.Lock()
	if g.hub.groups[g.id] == g {
		delete(g.hub.groups, g.id)
	}
	g.hub.mu.Unlock()
	g.cancel()
	<-g.ended
	g.mu.Lock()
	g.closed = true
	queue, holds := g.queue, g.holds
	g.queue, g.holds = nil, nil
	g.mu.Unlock()
	for _, w := range queue {
		if w.link != nil {
			w.link.refuse(g.id, w.req, errGroupClosed.Error())
		}
	}
	for _, h := range holds {
		h.abandon(g, errGroupClosed)
	}
	return nil
}

// deliver hands a request to Raft; false when it cannot take it.
func (g *Group) deliver(w waiting, command any) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deliverLocked(w, command)
}

func (g *Group) deliverLocked(w waiting, command any) bool {
	if g.closed || len(g.queue) >= deliverMax {
		return false
	}
	select {
	case g.rpcs <- raft.RPC{Command: command, RespChan: g.answers}:
		g.queue = append(g.queue, w)
		return true
	default:
		return false
	}
}

// respond sends Raft's answers, in the order of the requests: Raft serves one at
// a time.
func (g *Group) respond() {
	defer close(g.ended)
	for {
		select {
		case <-g.ctx.Done():
			return
		case r := <-g.answers:
			g.mu.Lock()
			if len(g.queue) == 0 {
				g.mu.Unlock()
				continue
			}
			w := g.queue[0]
			g.queue = append(g.queue[:0], g.queue[1:]...)
			g.mu.Unlock()
			g.reply(w, r)
		}
	}
}

func (g *Group) reply(w waiting, r raft.RPCResponse) {
	if w.link == nil {
		return
	}
	if r.Error != nil {
		w.link.refuse(g.id, w.req, r.Error.Error())
		return
	}
	var err error
	switch m := r.Response.(type) {
	case *raft.AppendEntriesResponse:
		if m.Success && w.last > 0 {
			g.hold(hold{index: w.last, link: w.link, req: w.req, resp: *m})
			return
		}
		err = w.link.send(kindAppendResp, g.id, w.req, w.kind != kindIdle, false, func(b []byte) []byte {
			return encodeAppendResp(b, m)
		})
	case *raft.RequestVoteResponse:
		err = w.link.send(kindVoteResp, g.id, w.req, true, false, ballot{term: m.Term, flag: m.Granted}.encode)
		if v := w.vote; v != nil && !m.Granted && m.Term == v.Term && g.opts.Refused != nil {
			g.opts.Refused(v.Term, v.LastLogTerm, v.LastLogIndex)
		}
	case *raft.RequestPreVoteResponse:
		err = w.link.send(kindPreVoteResp, g.id, w.req, true, false, ballot{term: m.Term, flag: m.Granted}.encode)
	case *raft.TimeoutNowResponse:
		err = w.link.send(kindTimeoutNowResp, g.id, w.req, true, false, nil)
	default:
		w.link.refuse(g.id, w.req, "no such answer")
	}
	_ = err // a failed link needs no answer: its peer has seen the end of it
}

// Elect makes the local replica stand for election now, as if the leader had
// asked it to take over. It is safe whatever the cluster's state is. It gives
// false, and nothing happens, while another candidate's question waits for Raft:
// to stand right after a vote would depose the one it was given to.
func (g *Group) Elect() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.ContainsFunc(g.queue, func(w waiting) bool { return w.kind == kindVote }) {
		return false
	}
	return g.deliverLocked(waiting{kind: kindTimeoutNow}, &raft.TimeoutNowRequest{RPCHeader: header(g.hub.cfg.NodeID)})
}

// ElectAgain makes the local replica, a candidate of the term, give that
// candidacy up and stand anew. Raft itself would wait for the election timeout.
// It gives up when it hears of a later term; this one has a candidate with an
// empty log, whom nobody votes for, and nobody else hears of.
func (g *Group) ElectAgain(term uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) > 0 {
		return false
	}
	h := header(g.hub.cfg.NodeID)
	return g.deliverLocked(waiting{kind: kindVote}, &raft.RequestVoteRequest{RPCHeader: h, Term: term + 1}) &&
		g.deliverLocked(waiting{kind: kindTimeoutNow}, &raft.TimeoutNowRequest{RPCHeader: h})
}

// Progress samples how far a peer is.
func (g *Group) Progress(id shard.NodeID) Progress {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.progress[id]; p != nil {
		return *p
	}
	return Progress{}
}

// ResetProgress forgets what peers acknowledged, when leadership changes.
func (g *Group) ResetProgress() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.progress)
}

func (g *Group) noteLocked(id shard.NodeID, match uint64) {
	p := g.progress[id]
	if p == nil {
		if len(g.progress) >= 2*shard.NodesMax {
			return
		}
		p = new(Progress)
		g.progress[id] = p
	}
	p.Match, p.Contact = max(p.Match, match), time.Now()
}

// ackedLocked notes entries that Raft counts.
func (g *Group) ackedLocked(id shard.NodeID, index uint64) {
	g.noteLocked(id, index)
	if p := g.progress[id]; p != nil {
		p.Durable = max(p.Durable, index)
	}
}

func (g *Group) heartbeatHandler() func(raft.RPC) {
	if fn := g.beat.Load(); fn != nil {
		return *fn
	}
	return nil
}

// Consumer implements raft.Transport.
func (g *Group) Consumer() <-chan raft.RPC { return g.rpcs }

// LocalAddr implements raft.Transport: the address of a server is its id.
func (g *Group) LocalAddr() raft.ServerAddress { return raft.ServerAddress(g.hub.cfg.NodeID) }

// EncodePeer implements raft.Transport.
func (g *Group) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (g *Group) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler implements raft.Transport.
func (g *Group) SetHeartbeatHandler(fn func(raft.RPC)) { g.beat.Store(&fn) }
