package transport

import (
	"bufio"
	"errors"
	"io"
	"net"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

const readBufferBytes = 64 << 10

// serve handles one accepted connection until it ends.
func (h *Hub) serve(conn net.Conn) {
	r := bufio.NewReaderSize(conn, readBufferBytes)
	m, err := h.welcome(conn, r)
	if err != nil {
		if _, ok := errors.AsType[*chat.Error](err); ok {
			h.log.Warn("peer refused", "remote", conn.RemoteAddr().String(), "err", err)
		}
		return
	}
	if m.purpose == purposeSnapshot {
		h.serveSnapshot(conn, r, m.from)
		return
	}
	if p, err := h.peer(m.from); err == nil {
		p.greeted(m.boot)
	}
	l := newLink(conn, &h.stats, h.tick)
	in := inbound{hub: h, link: l, from: m.from, head: header(m.from), beat: make(chan raft.RPCResponse, 1)}
	err = in.run(r)
	l.fail(err)
	<-l.done
	if h.ctx.Err() == nil {
		h.stats.breaks.Add(1)
		if p, err := h.peer(m.from); err == nil {
			p.suspect()
		}
	}
}

// inbound reads the requests of one peer.
type inbound struct {
	hub  *Hub
	link *link
	from shard.NodeID
	head raft.RPCHeader
	beat chan raft.RPCResponse
	out  []byte // the answer to a frame of heartbeats
}

const noGroup = "this node has no such group"

func (in *inbound) run(r io.Reader) error {
	fr := frameReader{r: r}
	for {
		f, err := fr.next()
		if err != nil {
			return err
		}
		if err := in.handle(f); err != nil {
			in.hub.log.Warn("bad frame from a peer", "peer", string(in.from), "err", err)
			return err
		}
	}
}

func (in *inbound) handle(f frame) error {
	if f.kind == kindBeats {
		return in.heartbeats(f)
	}
	g := in.hub.group(f.group)
	if g == nil {
		return in.refuse(f, noGroup)
	}
	switch f.kind {
	case kindVerify:
		term, err := decodeTerm(f.payload)
		if err != nil {
			return err
		}
		return in.answerVerify(g, f, term)
	case kindAppend, kindIdle:
		m, err := decodeAppend(f.payload, in.head)
		if err != nil {
			return err
		}
		if f.kind == kindIdle && len(m.Entries) > 0 {
			return errFrame // its bytes are not its own
		}
		return in.pass(g, f, m, lastIndex(m))
	case kindVote:
		v, err := decodeBallot(f.payload)
		if err != nil {
			return err
		}
		m := &raft.RequestVoteRequest{RPCHeader: in.head, Term: v.term,
			LastLogIndex: v.index, LastLogTerm: v.logTerm, LeadershipTransfer: v.flag}
		return in.give(g, waiting{link: in.link, req: f.req, kind: f.kind, vote: m}, m)
	case kindPreVote:
		v, err := decodeBallot(f.payload)
		if err != nil {
			return err
		}
		return in.pass(g, f, &raft.RequestPreVoteRequest{RPCHeader: in.head, Term: v.term,
			LastLogIndex: v.index, LastLogTerm: v.logTerm}, 0)
	case kindTimeoutNow:
		return in.pass(g, f, &raft.TimeoutNowRequest{RPCHeader: in.head}, 0)
	default:
		return errFrame
	}
}

func lastIndex(m *raft.AppendEntriesRequest) uint64 {
	if n := len(m.Entries); n > 0 {
		return m.Entries[n-1].Index
	}
	return 0
}

// pass hands a request to the group's Raft, in order.
func (in *inbound) pass(g *Group, f frame, command any, last uint64) error {
	return in.give(g, waiting{link: in.link, req: f.req, kind: f.kind, last: last}, command)
}

func (in *inbound) give(g *Group, w waiting, command any) error {
	if !g.deliver(w, command) {
		in.link.refuse(g.id, w.req, "the group is closed or overrun")
	}
	return nil // a failed link ends the read loop by itself
}

func (in *inbound) refuse(f frame, msg string) error {
	in.link.refuse(f.group, f.req, msg)
	return nil // a failed link ends the read loop by itself
}

func (l *link) refuse(g shard.GroupID, req uint64, msg string) {
	msg = msg[:min(len(msg), errorBytesMax)]
	_ = l.send(kindError, g, req, true, false, func(b []byte) []byte { return append(b, msg...) }) // a failed link needs no answer
}

// answerVerify confirms that this replica has seen no term above the asked one:
// whoever leads a later term was not elected yet.
func (in *inbound) answerVerify(g *Group, f frame, term uint64) error {
	v := ballot{term: g.opts.CurrentTerm(), flag: false}
	v.flag = v.term <= term
	_ = in.link.send(kindVerifyResp, f.group, f.req, true, false, v.encode) // a failed link ends the read loop by itself
	return nil
}
