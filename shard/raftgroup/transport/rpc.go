package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

// syncCall is a request whose caller waits.
type syncCall struct {
	from shard.NodeID
	want kind
	resp any // *raft.AppendEntriesResponse or *ballot
	done chan error
}

func (c *syncCall) fail(err error) { c.done <- err }

func (c *syncCall) answer(k kind, payload []byte) {
	c.done <- c.decode(k, payload)
}

func (c *syncCall) decode(k kind, payload []byte) error {
	switch {
	case k == kindError:
		return errors.New(string(payload[:min(len(payload), errorBytesMax)]))
	case k != c.want:
		return fmt.Errorf("answer of kind %d: %w", k, errFrame)
	}
	switch m := c.resp.(type) {
	case *raft.AppendEntriesResponse:
		return decodeAppendResp(payload, header(c.from), m)
	case *ballot:
		v, err := decodeBallot(payload)
		*m = v
		return err
	default:
		return nil
	}
}

// ask sends a request and waits for its answer.
func (g *Group) ask(to shard.NodeID, k, want kind, resp any, enc func([]byte) []byte) error {
	p, err := g.hub.peer(to)
	if err != nil {
		return err
	}
	if err := g.await(p, dialTimeout); err != nil {
		return err
	}
	c := &syncCall{from: to, want: want, resp: resp, done: make(chan error, 1)}
	if err := p.start(k, g.id, c, true, false, enc); err != nil {
		return err
	}
	return g.wait(p, c)
}

// await waits a while for a connection to come up.
func (g *Group) await(p *peer, limit time.Duration) error {
	up, now := p.demand()
	if now {
		return nil
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-up:
		return nil
	case <-t.C:
		return errUnreachable
	case <-g.ctx.Done():
		return errGroupClosed
	}
}

func (g *Group) wait(p *peer, c *syncCall) error {
	t := time.NewTimer(rpcTimeout)
	defer t.Stop()
	select {
	case err := <-c.done:
		return err
	case <-t.C:
		p.forget(c)
		return fmt.Errorf("no answer from %s in %v", p.id, rpcTimeout)
	case <-g.ctx.Done():
		p.forget(c)
		return errGroupClosed
	}
}

// AppendEntries implements raft.Transport. Heartbeats fail at once when the
// peer cannot be reached. Entries wait for the peer, for as long as it is
// wanted, and are sent anew when the connection broke or the peer's replica does
// not run yet: Raft would answer each failure with a longer pause, of up to 10 s,
// that goes on when the peer is back.
func (g *Group) AppendEntries(id raft.ServerID, _ raft.ServerAddress, m *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	to := shard.NodeID(id)
	if isHeartbeat(m) {
		err := g.heartbeat(to, m.Term, resp)
		if err == nil {
			g.mu.Lock()
			g.noteLocked(to, 0)
			g.mu.Unlock()
		}
		return err
	}
	p, err := g.hub.peer(to)
	if err != nil {
		return err
	}
	trim(m)
	for pause := retryFirst; ; pause = min(2*pause, retryLongest) {
		err := g.exchange(p, m, resp)
		if err == nil {
			return g.acknowledged(to, m, resp)
		}
		stale := g.opts.Leading != nil && g.opts.Leading(m.Term) == 0
		if stale || !g.opts.Wanted(to) || !g.sleep(pause) {
			return err
		}
	}
}

// exchange sends entries once, when the peer can be reached, and takes the
// answer. What the log has gained meanwhile goes with them.
func (g *Group) exchange(p *peer, m *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := g.await(p, wantedEvery); err != nil {
		return err
	}
	g.widen(m)
	got := new(raft.AppendEntriesResponse) // an answer that comes too late must not meet the next one's
	c := &syncCall{from: p.id, want: kindAppendResp, resp: got, done: make(chan error, 1)}
	if err := p.start(kindAppend, g.id, c, true, true, func(b []byte) []byte { return encodeAppend(b, m) }); err != nil {
		return err
	}
	if err := g.wait(p, c); err != nil {
		return err
	}
	*resp = *got
	return nil
}

// sleep pauses; false when the group has ended.
func (g *Group) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-g.ctx.Done():
		return false
	}
}

// widen adds the entries that follow those of a request, as far as a frame
// allows. Raft makes requests of few entries, with those that it had when it
// began, and sends one such request in each CommitTimeout to a follower that it
// takes for one that keeps up. Raft takes what it finds in the request after the
// call as what was sent. A log is only added to while its replica leads: that it
// still leads in the term of the request after the entries were read shows that
// they follow those before.
func (g *Group) widen(m *raft.AppendEntriesRequest) {
	n := len(m.Entries)
	if g.opts.Leading == nil || g.opts.Entry == nil || n == 0 {
		return
	}
	size := 0
	for _, e := range m.Entries {
		size += entryBytes(e)
	}
	last := g.opts.Leading(m.Term)
	for i := lastIndex(m) + 1; i <= last && len(m.Entries) < AppendEntriesMax; i++ {
		e := new(raft.Log)
		if g.opts.Entry(i, e) != nil || e.Index != i {
			break
		}
		if size += entryBytes(e); size > AppendBytesMax {
			break
		}
		m.Entries = append(m.Entries, e)
	}
	if len(m.Entries) > n && g.opts.Leading(m.Term) == 0 {
		clear(m.Entries[n:])
		m.Entries = m.Entries[:n]
	}
}

// acknowledged holds a success back until the local log is durable, too.
func (g *Group) acknowledged(from shard.NodeID, m *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	last := lastIndex(m)
	if !resp.Success || last == 0 {
		g.mu.Lock()
		g.noteLocked(from, matched(m, resp))
		g.mu.Unlock()
		return nil
	}
	c := &syncCall{done: make(chan error, 1)}
	g.hold(hold{index: last, from: from, waiter: c})
	select {
	case err := <-c.done:
		return err
	case <-g.ctx.Done():
		return errGroupClosed
	}
}

// matched is the last entry that an answer shows the follower to have.
func matched(m *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) uint64 {
	if !resp.Success {
		return 0
	}
	return max(m.PrevLogEntry, lastIndex(m))
}

func isHeartbeat(m *raft.AppendEntriesRequest) bool {
	return m.PrevLogEntry == 0 && m.PrevLogTerm == 0 && len(m.Entries) == 0 && m.LeaderCommitIndex == 0
}

// trim keeps a request within the bounds of a frame. Raft takes what it finds in
// the request after the call as what was sent, and sends the rest next.
func trim(m *raft.AppendEntriesRequest) {
	size := 0
	for i, e := range m.Entries {
		size += entryBytes(e)
		if i > 0 && size > AppendBytesMax {
			clear(m.Entries[i:])
			m.Entries = m.Entries[:i]
			return
		}
	}
}

func (g *Group) heartbeat(to shard.NodeID, term uint64, resp *raft.AppendEntriesResponse) error {
	p, err := g.hub.peer(to)
	if err != nil {
		return err
	}
	c := &syncCall{from: to, want: kindAppendResp, resp: resp, done: make(chan error, 1)}
	if err := p.beat(g.id, term, c); err != nil {
		return err
	}
	return g.wait(p, c)
}

// RequestVote implements raft.Transport.
func (g *Group) RequestVote(id raft.ServerID, _ raft.ServerAddress, m *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	var v ballot
	err := g.ask(shard.NodeID(id), kindVote, kindVoteResp, &v,
		ballot{m.Term, m.LastLogIndex, m.LastLogTerm, m.LeadershipTransfer}.encode)
	*resp = raft.RequestVoteResponse{RPCHeader: header(shard.NodeID(id)), Term: v.term, Granted: v.flag}
	return err
}

// RequestPreVote implements raft.WithPreVote.
func (g *Group) RequestPreVote(id raft.ServerID, _ raft.ServerAddress, m *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	var v ballot
	err := g.ask(shard.NodeID(id), kindPreVote, kindPreVoteResp, &v,
		ballot{m.Term, m.LastLogIndex, m.LastLogTerm, false}.encode)
	*resp = raft.RequestPreVoteResponse{RPCHeader: header(shard.NodeID(id)), Term: v.term, Granted: v.flag}
	return err
}

// TimeoutNow implements raft.Transport.
func (g *Group) TimeoutNow(id raft.ServerID, _ raft.ServerAddress, _ *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	resp.RPCHeader = header(shard.NodeID(id))
	return g.ask(shard.NodeID(id), kindTimeoutNow, kindTimeoutNowResp, nil, nil)
}

// verifyCall asks one peer whether it has seen a later term.
type verifyCall struct {
	fn func(ok bool)
}

func (c *verifyCall) fail(error) { c.fn(false) }

func (c *verifyCall) answer(k kind, payload []byte) {
	v, err := decodeBallot(payload)
	c.fn(k == kindVerifyResp && err == nil && v.flag)
}

// Verify asks a peer, at once, whether it has seen no term above term. fn is
// called once, from a read loop, and must not block; it may be called before
// Verify returns.
func (g *Group) Verify(to shard.NodeID, term uint64, fn func(ok bool)) {
	p, err := g.hub.peer(to)
	if err == nil {
		err = p.start(kindVerify, g.id, &verifyCall{fn: fn}, true, false, func(b []byte) []byte {
			return binary.BigEndian.AppendUint64(b, term)
		})
	}
	if err != nil {
		fn(false)
	}
}
