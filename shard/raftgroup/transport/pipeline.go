package transport

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

// RequestEntriesMax is Raft's own limit of one request: one that is this large
// may have been cut.
const RequestEntriesMax = 64

// pipeline sends AppendEntries without waiting for the answers of those before.
// Answers enter Consumer in the order of their requests; after the first failure
// nothing enters it any more and the next AppendEntries fails, on which Raft
// falls back to single requests.
type pipeline struct {
	g    *Group
	p    *peer
	to   shard.NodeID
	head raft.RPCHeader // of its answers
	done chan raft.AppendFuture

	mu     sync.Mutex // guards what follows
	room   sync.Cond
	flying []*future // oldest first
	commit uint64    // the newest that was sent
	err    error
}

// future is one request in flight.
type future struct {
	pl    *pipeline
	req   *raft.AppendEntriesRequest
	resp  *raft.AppendEntriesResponse
	start time.Time
	ready bool
}

var (
	_ raft.AppendPipeline = (*pipeline)(nil)
	_ raft.AppendFuture   = (*future)(nil)
	_ call                = (*future)(nil)

	errPipelineClosed = errors.New("pipeline closed")
)

// AppendEntriesPipeline implements raft.Transport.
func (g *Group) AppendEntriesPipeline(id raft.ServerID, _ raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := g.hub.peer(shard.NodeID(id))
	if err != nil {
		return nil, err
	}
	if !p.connected() {
		return nil, errUnreachable
	}
	if g.opts.Leading != nil && g.opts.Leading(g.opts.CurrentTerm()) > g.Progress(p.id).Match+AppendEntriesMax {
		return nil, raft.ErrPipelineReplicationNotSupported // far behind: single requests follow each other at once
	}
	pl := &pipeline{g: g, p: p, to: shard.NodeID(id), head: header(shard.NodeID(id)), done: make(chan raft.AppendFuture, 2*pipelineMax)}
	pl.room.L = &pl.mu
	return pl, nil
}

// AppendEntries sends m; it waits while too many are in flight.
func (pl *pipeline) AppendEntries(m *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	trim(m)
	if len(m.Entries) >= RequestEntriesMax {
		pl.g.widen(m) // there may be more than Raft sends at a time
	}
	f := &future{pl: pl, req: m, resp: resp, start: time.Now()}
	pl.mu.Lock()
	for pl.err == nil && len(pl.flying) >= pipelineMax {
		if !pl.g.opts.Wanted(pl.to) {
			pl.err = errPipelineClosed
			break
		}
		stop := time.AfterFunc(wantedEvery, pl.room.Broadcast)
		pl.room.Wait()
		stop.Stop()
	}
	if pl.err != nil {
		defer pl.mu.Unlock()
		return nil, pl.err
	}
	pl.flying = append(pl.flying, f)
	k := kindAppend
	if len(m.Entries) == 0 && m.LeaderCommitIndex == pl.commit {
		k = kindIdle // one in each CommitTimeout: it may wait, and its answer
	}
	pl.commit = m.LeaderCommitIndex
	pl.mu.Unlock()
	err := pl.p.start(k, pl.g.id, f, k == kindAppend, true, func(b []byte) []byte { return encodeAppend(b, m) })
	if err != nil {
		pl.sever(err)
		return nil, err
	}
	return f, nil
}

// Consumer implements raft.AppendPipeline.
func (pl *pipeline) Consumer() <-chan raft.AppendFuture { return pl.done }

// Close implements raft.AppendPipeline.
func (pl *pipeline) Close() error {
	pl.sever(errPipelineClosed)
	return nil
}

// sever ends the pipeline; answers that come later are dropped.
func (pl *pipeline) sever(err error) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.err == nil {
		pl.err = err
	}
	pl.flying = nil
	pl.room.Broadcast()
}

// answer is called by the read loop.
func (f *future) answer(k kind, payload []byte) {
	if k != kindAppendResp {
		f.fail(errFrame)
		return
	}
	if err := decodeAppendResp(payload, f.pl.head, f.resp); err != nil {
		f.fail(err)
		return
	}
	if last := lastIndex(f.req); f.resp.Success && last > 0 {
		f.pl.g.hold(hold{index: last, from: f.pl.to, waiter: f})
		return
	}
	f.pl.g.mu.Lock()
	f.pl.g.noteLocked(f.pl.to, matched(f.req, f.resp))
	f.pl.g.mu.Unlock()
	f.fail(nil)
}

// fail ends the exchange: with nil it succeeded and is handed on.
func (f *future) fail(err error) {
	pl := f.pl
	if err != nil {
		pl.sever(err)
		return
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	f.ready = true
	n := 0
	for n < len(pl.flying) && pl.flying[n].ready {
		select {
		case pl.done <- pl.flying[n]:
			n++
			continue
		default: // Raft does not read: give up rather than block a read loop
			pl.err = errPipelineClosed
		}
		break
	}
	if n > 0 || pl.err != nil {
		pl.flying = append(pl.flying[:0], pl.flying[n:]...)
		pl.room.Broadcast()
	}
}

// Error implements raft.AppendFuture. Only completed futures are handed on.
func (f *future) Error() error { return nil }

// Start implements raft.AppendFuture.
func (f *future) Start() time.Time { return f.start }

// Request implements raft.AppendFuture.
func (f *future) Request() *raft.AppendEntriesRequest { return f.req }

// Response implements raft.AppendFuture.
func (f *future) Response() *raft.AppendEntriesResponse { return f.resp }
