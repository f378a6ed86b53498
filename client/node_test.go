package client_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/merkle"
	"github.com/chatnode/chatnode/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; it is long because the machine may be
// busy, and costs nothing when all is well.
const patience = 60 * time.Second

// cluster is what scripted nodes serve: conversations with the rules that the
// SDK leans on (dense seqs, one append per id, `after`).
type cluster struct {
	mu    sync.Mutex
	convs map[chat.ConvID]*conversation
	// script may answer a request itself; it runs under mu.
	script func(p *peer, req *wire.Request) (handled bool)
	peers  map[*peer]bool
}

type conversation struct {
	entries []chat.Entry
	acks    map[chat.ClientID]chat.Ack
	tree    merkle.Range
}

// peer is one connection to a scripted node.
type peer struct {
	cl   *cluster
	node *scripted
	ws   *websocket.Conn
	subs map[chat.ConvID]chat.Seq // next to be delivered
	out  []byte
	n    int
	skip chat.Seq // leaves this entry out of what is pushed, once
}

type scripted struct {
	cl  *cluster
	srv *httptest.Server
	url string
}

func newCluster(tb testing.TB, nodes int) (*cluster, []string) {
	tb.Helper()
	cl := &cluster{convs: make(map[chat.ConvID]*conversation), peers: make(map[*peer]bool)}
	var urls []string
	for range nodes {
		n := &scripted{cl: cl}
		n.srv = httptest.NewServer(n)
		n.url = n.srv.URL
		urls = append(urls, n.url)
		tb.Cleanup(func() {
			cl.cut(nil)
			n.srv.Close()
		})
	}
	return cl, urls
}

// cut breaks connections: all, or those that pick chooses.
func (cl *cluster) cut(pick func(*peer) bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for p := range cl.peers {
		if pick == nil || pick(p) {
			_ = p.ws.Close()
		}
	}
}

func (cl *cluster) setScript(f func(p *peer, req *wire.Request) bool) {
	cl.mu.Lock()
	cl.script = f
	cl.mu.Unlock()
}

func (n *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	ws.SetReadLimit(wire.FrameBytesMax)
	p := &peer{cl: n.cl, node: n, ws: ws, subs: make(map[chat.ConvID]chat.Seq)}
	n.cl.mu.Lock()
	n.cl.peers[p] = true
	n.cl.mu.Unlock()
	defer func() {
		n.cl.mu.Lock()
		delete(n.cl.peers, p)
		n.cl.mu.Unlock()
		_ = ws.Close()
	}()
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		n.cl.mu.Lock()
		dec := wire.NewDecoder(string(data))
		for dec.Next() {
			var req wire.Request
			if err := dec.Request(&req); err != nil {
				p.reply(&wire.Reply{Type: wire.Error, Ref: req.Ref, Code: chat.CodeOf(err), Message: err.Error()})
				continue
			}
			if n.cl.script == nil || !n.cl.script(p, &req) {
				p.serve(&req)
			}
		}
		for q := range n.cl.peers {
			q.push()
			q.flush()
		}
		n.cl.mu.Unlock()
	}
}

func (p *peer) reply(r *wire.Reply) { p.raw(wire.AppendReply(nil, r)) }

func (p *peer) refuse(ref uint64, code chat.Code, retryAfterMS uint64) {
	p.raw(wire.AppendError(nil, ref, code, "scripted", retryAfterMS))
}

func (p *peer) raw(obj []byte) {
	if p.n > 0 {
		p.out = append(p.out, ',')
	} else {
		p.out = append(p.out[:0], '[')
	}
	p.out = append(p.out, obj...)
	if p.n++; p.n == wire.FrameObjectsMax {
		p.flush()
	}
}

func (p *peer) flush() {
	if p.n == 0 {
		return
	}
	p.out = append(p.out, ']')
	_ = p.ws.SetWriteDeadline(time.Now().Add(patience))
	_ = p.ws.WriteMessage(websocket.TextMessage, p.out)
	p.n = 0
}

func (cl *cluster) conv(id chat.ConvID) *conversation {
	c := cl.convs[id]
	if c == nil {
		c = &conversation{acks: make(map[chat.ClientID]chat.Ack)}
		cl.convs[id] = c
	}
	return c
}

// append puts a message at the end, or answers as the first time.
func (c *conversation) append(conv chat.ConvID, id, after chat.ClientID, text string) (chat.Ack, chat.Code) {
	if a, ok := c.acks[id]; ok {
		a.Dup = true
		return a, chat.OK
	}
	if _, ok := c.acks[after]; !after.IsZero() && !ok {
		return chat.Ack{}, chat.PredecessorAbsent
	}
	e := chat.Entry{
		Conv: conv, Seq: chat.Seq(len(c.entries) + 1), MsgNo: chat.MsgNo(len(c.entries) + 1), TimeMS: 1_760_000_000_000,
		Sender: "ann", Device: "d", ClientID: id, Type: chat.Message, Body: chat.Body{Text: strings.Clone(text)},
	}
	c.entries = append(c.entries, e)
	c.tree.Append(chat.LeafHash(&e))
	a := chat.Ack{Seq: e.Seq, MsgNo: e.MsgNo, TimeMS: e.TimeMS, Root: c.tree.Root()}
	c.acks[id] = a
	return a, chat.OK
}

func (p *peer) serve(req *wire.Request) {
	conv := chat.ConvID(strings.Clone(string(req.Conv)))
	if req.To != "" {
		conv = chat.DirectID("ann", chat.UserID(strings.Clone(string(req.To))))
	}
	c := p.cl.conv(conv)
	head := chat.Seq(len(c.entries))
	switch req.Type {
	case wire.Hello:
		p.reply(&wire.Reply{Type: wire.Welcome, Ref: req.Ref, Hello: wire.WelcomeBody{
			User: "ann", Device: req.Device, Session: "s", Node: p.node.url, Version: 1, Limits: wire.DefaultLimits(),
		}})
	case wire.Send, wire.Create, wire.Members:
		ack, code := c.append(conv, req.ID, req.After, req.Text)
		if code != chat.OK {
			p.refuse(req.Ref, code, 0)
			return
		}
		p.raw(wire.AppendAck(nil, req.Ref, "", &ack))
	case wire.Subscribe:
		from := req.From
		if from == 0 {
			from = head + 1
		}
		if from > head+1 {
			p.refuse(req.Ref, chat.Behind, 0)
			return
		}
		p.subs[conv] = from
		p.reply(&wire.Reply{Type: wire.Subscribed, Ref: req.Ref, Conv: conv, Head: head, From: from})
	case wire.Unsubscribe:
		delete(p.subs, conv)
		p.reply(&wire.Reply{Type: wire.Unsubscribed, Ref: req.Ref, Conv: conv})
	case wire.History:
		p.page(req, c, conv)
	case wire.Info:
		p.reply(&wire.Reply{Type: wire.Info, Ref: req.Ref, Conv: conv, Info: chat.Info{
			Conv: conv, Kind: chat.Group, Policy: chat.AllHistory, Head: head, Root: c.tree.Root(),
		}})
	case wire.Proof:
		p.proof(req, c, conv)
	case wire.Ping:
		p.reply(&wire.Reply{Type: wire.Pong, Ref: req.Ref, TimeMS: 1})
	}
}

func (p *peer) page(req *wire.Request, c *conversation, conv chat.ConvID) {
	limit := int(req.Limit)
	if limit == 0 {
		limit = chat.PageEntriesMax
	}
	var from int
	to := len(c.entries)
	switch req.Page {
	case wire.After:
		from = min(int(req.At), len(c.entries))
		to = min(from+limit, len(c.entries))
	case wire.Before:
		to = min(max(int(req.At)-1, 0), len(c.entries))
		from = max(0, to-limit)
	default:
		from = max(0, to-limit)
	}
	p.reply(&wire.Reply{
		Type: wire.Page, Ref: req.Ref, Conv: conv, Head: chat.Seq(len(c.entries)),
		Entries: c.entries[from:to], More: req.Page == wire.After && to < len(c.entries),
	})
}

// leaves gives the complete subtrees to the proofs of package merkle.
type leaves []chat.Entry

func (l leaves) Node(level int, index uint64) (merkle.Hash, error) {
	if level == 0 {
		return chat.LeafHash(&l[index]), nil
	}
	left, _ := l.Node(level-1, 2*index)
	right, _ := l.Node(level-1, 2*index+1)
	return merkle.NodeHash(&left, &right), nil
}

func (p *peer) proof(req *wire.Request, c *conversation, conv chat.ConvID) {
	size := uint64(req.Size)
	if size == 0 {
		size = uint64(len(c.entries))
	}
	src := leaves(c.entries)
	root, _ := merkle.RootAt(src, size)
	r := wire.Reply{Type: wire.Proof, Ref: req.Ref, Conv: conv}
	if req.Seq > 0 {
		path, _ := merkle.Inclusion(src, uint64(req.Seq-1), size)
		r.Proof = wire.ProofReply{Conv: conv, Seq: req.Seq, Size: chat.Seq(size), Leaf: chat.LeafHash(&c.entries[req.Seq-1]), Root: root, Path: path}
	} else {
		path, _ := merkle.Consistency(src, uint64(req.FromSize), size)
		old, _ := merkle.RootAt(src, uint64(req.FromSize))
		r.Proof = wire.ProofReply{Conv: conv, FromSize: req.FromSize, FromRoot: old, Size: chat.Seq(size), Root: root, Path: path}
	}
	p.reply(&r)
}

// push delivers what the subscriptions of p have not had.
func (p *peer) push() {
	for conv, next := range p.subs {
		c := p.cl.conv(conv)
		head := chat.Seq(len(c.entries))
		if next > head {
			continue
		}
		var batch []chat.Entry
		for _, e := range c.entries[next-1 : min(head, next+99)] {
			if e.Seq == p.skip {
				p.skip = 0
				continue
			}
			batch = append(batch, e)
		}
		p.subs[conv] = min(head, next+99) + 1
		if len(batch) > 0 {
			p.reply(&wire.Reply{Type: wire.Entries, Conv: conv, Head: head, Entries: batch})
		}
	}
}

func config() client.Config {
	cfg := client.DefaultConfig()
	cfg.BackoffMin, cfg.BackoffMax = time.Millisecond, 20*time.Millisecond
	return cfg
}

func dial(tb testing.TB, urls []string, cfg client.Config) *client.Client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, urls, client.StaticToken("t"), cfg)
	if err != nil {
		tb.Fatalf("Dial: %v", err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func within(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}
