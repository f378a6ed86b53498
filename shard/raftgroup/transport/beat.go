package transport

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

// Heartbeats cost an idle node most of what it uses, and nearly all of it is
// waking up. So those of all groups leave at the same ticks of the hub, one
// frame for each peer, and are answered in one. Raft sends a heartbeat a random
// time of 0.1 to 0.2 heartbeat timeouts after the last was answered, so with ticks
// of 0.4 each group is in every one, and a follower that missed one still waits for the
// next.

// beat is a heartbeat that waits for the tick.
type beat struct {
	group shard.GroupID
	term  uint64
	call  call
}

// ticker flushes what has gathered on peers and links. It runs while there is
// something to flush.
type ticker struct {
	every time.Duration // at most 0: nothing waits
	begin time.Time

	mu    sync.Mutex // guards what follows; taken last of all locks
	timer *time.Timer
	armed bool
	over  bool
	peers []*peer
	links []*link
}

func newTicker(every time.Duration) *ticker {
	return &ticker{every: every, begin: time.Now()}
}

// add arms the tick for one of both.
func (t *ticker) add(p *peer, l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	if p != nil {
		t.peers = append(t.peers, p)
	}
	if l != nil {
		t.links = append(t.links, l)
	}
	if t.armed {
		return
	}
	t.armed = true
	wait := t.every - time.Since(t.begin)%t.every
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.fire)
	} else {
		t.timer.Reset(wait)
	}
}

func (t *ticker) fire() {
	t.mu.Lock()
	peers, links := t.peers, t.links
	t.peers, t.links, t.armed = nil, nil, false
	t.mu.Unlock()
	for _, p := range peers {
		p.flushBeats()
	}
	for _, l := range links {
		l.flush()
	}
}

func (t *ticker) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// beat queues a heartbeat. On an error c was not and will not be called.
func (p *peer) beat(g shard.GroupID, term uint64, c call) error {
	p.mu.Lock()
	if p.link == nil {
		p.demandLocked()
		p.mu.Unlock()
		return errUnreachable
	}
	p.beats = append(p.beats, beat{g, term, c})
	first := len(p.beats) == 1
	p.mu.Unlock()
	switch {
	case p.hub.tick.every <= 0:
		p.flushBeats()
	case first:
		p.hub.tick.add(p, nil)
	}
	return nil
}

// flushBeats sends the heartbeats that wait. Those of one frame have request
// numbers that follow each other.
func (p *peer) flushBeats() {
	p.mu.Lock()
	l, beats := p.link, p.beats
	if l == nil || len(beats) == 0 { // the end of a connection has told them
		p.mu.Unlock()
		return
	}
	first := p.nextReq + 1
	for _, b := range beats {
		p.nextReq++
		p.calls[p.nextReq] = b.call
	}
	p.beats = nil
	p.mu.Unlock()
	for len(beats) > 0 {
		n := min(len(beats), beatsMax)
		// When the link has failed, its end tells the calls.
		_ = l.send(kindBeats, 0, first, true, false, func(b []byte) []byte { return encodeBeats(b, beats[:n]) })
		first += uint64(n)
		clear(beats[:n])
		beats = beats[n:]
	}
}

const (
	beatsMax       = shard.GroupsMax + 1 // in a frame
	beatBytes      = 4 + 8
	appendRespSize = 8 + 8 + 1
	beatRespBytes  = 2 + appendRespSize
)

// encodeBeats appends for each heartbeat: group u32 ‖ term u64.
func encodeBeats(dst []byte, beats []beat) []byte {
	for _, b := range beats {
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.group))
		dst = binary.BigEndian.AppendUint64(dst, b.term)
	}
	return dst
}

// decodeBeats calls fn for each heartbeat of a frame with its place in it.
func decodeBeats(b []byte, fn func(i int, g shard.GroupID, term uint64)) error {
	if len(b)%beatBytes != 0 || len(b)/beatBytes > beatsMax {
		return fmt.Errorf("heartbeats: %w", errFrame)
	}
	for i := 0; len(b) > 0; i++ {
		fn(i, shard.GroupID(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint64(b[4:]))
		b = b[beatBytes:]
	}
	return nil
}

// decodeBeatsResp calls fn for each answer of a frame, place u16 ‖ append answer.
func decodeBeatsResp(b []byte, fn func(i int, resp []byte)) error {
	if len(b)%beatRespBytes != 0 || len(b)/beatRespBytes > beatsMax {
		return fmt.Errorf("answers to heartbeats: %w", errFrame)
	}
	for ; len(b) > 0; b = b[beatRespBytes:] {
		fn(int(binary.BigEndian.Uint16(b)), b[2:beatRespBytes])
	}
	return nil
}

// answerBeats tells the calls of a frame of heartbeats.
func (p *peer) answerBeats(f frame) error {
	return decodeBeatsResp(f.payload, func(i int, resp []byte) {
		p.mu.Lock()
		c := p.calls[f.req+uint64(i)]
		delete(p.calls, f.req+uint64(i))
		p.mu.Unlock()
		if c != nil {
			c.answer(kindAppendResp, resp)
		}
	})
}

// heartbeats are answered on the read loop where Raft allows it, so that a busy
// group does not look dead.
func (in *inbound) heartbeats(f frame) error {
	in.out = in.out[:0]
	err := decodeBeats(f.payload, func(i int, id shard.GroupID, term uint64) {
		one := frame{kind: kindHeartbeat, group: id, req: f.req + uint64(i)}
		g := in.hub.group(id)
		if g == nil {
			_ = in.refuse(one, noGroup)
			return
		}
		if resp := in.heartbeat(g, one, term); resp != nil {
			in.out = binary.BigEndian.AppendUint16(in.out, uint16(i))
			in.out = encodeAppendResp(in.out, resp)
		}
	})
	if err == nil && len(in.out) > 0 {
		_ = in.link.send(kindBeatsResp, 0, f.req, true, false, func(b []byte) []byte { return append(b, in.out...) }) // a failed link ends the read loop by itself
	}
	return err
}

// heartbeat gives the answer, or nil when there will be one of its own. Raft's
// handler may persist a term; only a heartbeat of the term that the follower is
// in already takes this way.
func (in *inbound) heartbeat(g *Group, f frame, term uint64) *raft.AppendEntriesResponse {
	m := &raft.AppendEntriesRequest{RPCHeader: in.head, Term: term}
	fn := g.heartbeatHandler()
	if fn == nil || !g.opts.FastHeartbeat(term) {
		_ = in.pass(g, f, m, 0)
		return nil
	}
	fn(raft.RPC{Command: m, RespChan: in.beat})
	select {
	case r := <-in.beat:
		if resp, ok := r.Response.(*raft.AppendEntriesResponse); ok && r.Error == nil {
			return resp
		}
		_ = in.refuse(f, "heartbeat refused")
	default: // Raft is shutting down and answers nothing
		_ = in.refuse(f, "the group is stopping")
	}
	return nil
}
