package ws_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/session/sessiontest"
	"github.com/chatnode/chatnode/wire"
	"github.com/chatnode/chatnode/ws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a server of WebSockets over a cluster in memory.
type node struct {
	*sessiontest.Cluster
	t    testing.TB
	ws   *ws.Server
	http *httptest.Server
	url  string
}

func start(tb testing.TB, change func(*ws.Config, *session.Config)) *node {
	tb.Helper()
	c := sessiontest.New(tb)
	cfg, sc := ws.DefaultConfig(), session.DefaultConfig()
	cfg.TickEvery = 10 * time.Millisecond
	if change != nil {
		change(&cfg, &sc)
	}
	s, err := ws.New(context.WithoutCancel(tb.Context()), cfg, ws.Deps{Session: c.Deps(), SessionConfig: &sc, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	h := httptest.NewServer(s)
	tb.Cleanup(func() {
		s.Close()
		h.Close()
		if n := s.Overflows(); n != 0 {
			tb.Errorf("melody dropped frames of %d links", n)
		}
	})
	return &node{Cluster: c, t: tb, ws: s, http: h, url: "ws" + strings.TrimPrefix(h.URL, "http")}
}

// client is a WebSocket and what has come through it.
type client struct {
	t    testing.TB
	conn *websocket.Conn
	got  []wire.Reply
	bye  error
}

func (n *node) dial(header http.Header) *client {
	n.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}, HandshakeTimeout: sessiontest.Wait}
	conn, resp, err := d.Dial(n.url, header)
	if err != nil {
		n.t.Fatalf("dial: %v (%v)", err, resp)
	}
	_ = resp.Body.Close()
	n.t.Cleanup(func() { _ = conn.Close() })
	return &client{t: n.t, conn: conn}
}

func (n *node) login(user, device string) *client {
	n.t.Helper()
	c := n.dial(nil)
	c.write(fmt.Sprintf(`{"type":"hello","ref":9000000,"token":%q,"device":%q}`, user, device))
	if r := c.answer(9000000); r.Type != wire.Welcome {
		n.t.Fatalf("hello got %+v", r)
	}
	return c
}

func (c *client) write(text string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// read takes one frame; it is false when the connection has ended.
func (c *client) read() bool {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(sessiontest.Wait)); err != nil {
		c.t.Fatal(err)
	}
	kind, frame, err := c.conn.ReadMessage()
	if err != nil {
		c.bye = err
		return false
	}
	if kind != websocket.TextMessage {
		c.t.Errorf("a frame of kind %d", kind)
	}
	for d := wire.NewDecoder(string(frame)); d.Next(); {
		var r wire.Reply
		if err := d.Reply(&r); err != nil {
			c.t.Errorf("frame %q: %v", frame, err)
			return true
		}
		c.got = append(c.got, r)
	}
	return true
}

func (c *client) find(want func(*wire.Reply) bool) wire.Reply {
	c.t.Helper()
	seen := 0
	for {
		for ; seen < len(c.got); seen++ {
			if want(&c.got[seen]) {
				return c.got[seen]
			}
		}
		if !c.read() {
			c.t.Fatalf("the connection ended: %v", c.bye)
		}
	}
}

func (c *client) answer(ref uint64) wire.Reply {
	c.t.Helper()
	return c.find(func(r *wire.Reply) bool { return r.Ref == ref })
}

// closeCode reads to the end and gives the code of the close frame.
func (c *client) closeCode() int {
	c.t.Helper()
	for c.read() {
	}
	if e, ok := errors.AsType[*websocket.CloseError](c.bye); ok {
		return e.Code
	}
	c.t.Errorf("ended without a close frame: %v", c.bye)
	return 0
}

func TestConversation(t *testing.T) {
	n := start(t, nil)
	ann, bob := n.login("ann", "phone"), n.login("bob", "tab")
	ann.write(fmt.Sprintf(`{"type":"create","ref":1,"conv":"r","id":%q,"kind":"group","title":"R","members":[{"user":"bob","role":"writer"}]}`, sessiontest.ID(1)))
	if r := ann.answer(1); r.Type != wire.Ack || r.Conv != "r" || r.Ack.Seq != 1 {
		t.Fatalf("create got %+v", r)
	}
	bob.write(`{"type":"subscribe","ref":1,"conv":"r","from":1}`)
	if r := bob.answer(1); r.Type != wire.Subscribed {
		t.Fatalf("subscribe got %+v", r)
	}
	texts := []string{"hello", "你好，世界", "🙂 \"quoted\" \\ \n\t", "שלום", strings.Repeat("long ", 10_000)}
	for i, text := range texts {
		frame := wire.AppendRequest(nil, &wire.Request{Type: wire.Send, Ref: uint64(10 + i), Conv: "r", ID: sessiontest.ID(uint64(10 + i)), Text: text})
		ann.write(string(frame))
	}
	for i, text := range texts {
		if r := ann.answer(uint64(10 + i)); r.Ack.Seq != chat.Seq(2+i) {
			t.Errorf("send %d got %+v", i, r)
		}
		r := bob.find(func(r *wire.Reply) bool {
			return r.Type == wire.Entries && r.Entries[len(r.Entries)-1].Seq >= chat.Seq(2+i)
		})
		for _, e := range r.Entries {
			if e.Seq == chat.Seq(2+i) && (e.Body.Text != text || e.Sender != "ann" || e.Device != "phone") {
				t.Errorf("entry %d = %+v, want %.40q of ann", e.Seq, e, text)
			}
		}
	}
}

func TestTokenOfTheUpgrade(t *testing.T) {
	n := start(t, nil)
	c := n.dial(http.Header{"Authorization": {"Bearer ann"}})
	c.write(`{"type":"hello","ref":1}`)
	if r := c.answer(1); r.Type != wire.Welcome || r.Hello.User != "ann" {
		t.Errorf("hello got %+v", r)
	}
}

func TestEndings(t *testing.T) {
	tests := []struct {
		name   string
		change func(*ws.Config, *session.Config)
		do     func(n *node, c *client)
		want   int
	}{
		{"no hello", func(_ *ws.Config, s *session.Config) { s.HelloWait = time.Millisecond }, func(*node, *client) {}, 4010},
		{"first frame is no hello", nil, func(_ *node, c *client) { c.write(`{"type":"ping"}`) }, 4501},
		{"bad token", nil, func(_ *node, c *client) { c.write(`{"type":"hello","token":"no user"}`) }, 4501},
		{"replaced", nil, func(n *node, c *client) {
			c.write(`{"type":"hello","token":"ann","device":"d"}`)
			c.find(func(r *wire.Reply) bool { return r.Type == wire.Welcome })
			n.login("ann", "d")
		}, 4516},
		{"drained", nil, func(n *node, c *client) {
			c.write(`{"type":"hello","token":"ann"}`)
			c.find(func(r *wire.Reply) bool { return r.Type == wire.Welcome })
			go n.ws.Drain(n.t.Context(), time.Second)
		}, 4001},
		{"broken frames", nil, func(_ *node, c *client) {
			c.write(`{"type":"hello","token":"ann"}`)
			for range 8 {
				c.write(`{`)
				if err := c.conn.WriteMessage(websocket.BinaryMessage, []byte("{}")); err != nil {
					c.t.Fatal(err)
				}
			}
		}, 4500},
		{"too large", func(w *ws.Config, _ *session.Config) { w.FrameBytesMax = 1000 }, func(_ *node, c *client) {
			c.write(`{"type":"ping","x":"` + strings.Repeat("x", 1000) + `"}`)
		}, websocket.CloseMessageTooBig},
		{"not UTF-8", nil, func(_ *node, c *client) { c.write("{\"type\":\"\xff\"}") }, websocket.CloseInvalidFramePayloadData},
		{"closed by the client", nil, func(_ *node, c *client) {
			msg := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "done")
			if err := c.conn.WriteControl(websocket.CloseMessage, msg, time.Now().Add(sessiontest.Wait)); err != nil {
				c.t.Fatal(err)
			}
		}, websocket.CloseNormalClosure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, tt.change)
			c := n.dial(nil)
			tt.do(n, c)
			if got := c.closeCode(); got != tt.want {
				t.Errorf("closed with %d, want %d", got, tt.want)
			}
			if tt.want >= 4000 {
				last := c.got[len(c.got)-1]
				if last.Type != wire.Bye || wire.FaultOf(last.Code).Close != tt.want {
					t.Errorf("the last frame is %+v, want the bye of %d", last, tt.want)
				}
			}
		})
	}
}

func TestRefusedUpgrades(t *testing.T) {
	n := start(t, func(c *ws.Config, _ *session.Config) { c.Origins = []string{"https://chat.example.org"} })
	good := map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	}
	tests := []struct {
		name, method, header, value string
		want                        int
	}{
		{"as it should be", "GET", "", "", 101},
		{"no WebSocket at all", "GET", "Upgrade", "", 426},
		{"POST", "POST", "", "", 405},
		{"old version", "GET", "Sec-WebSocket-Version", "8", 400},
		{"no key", "GET", "Sec-WebSocket-Key", "", 400},
		{"short key", "GET", "Sec-WebSocket-Key", "AAAA", 400},
		{"another subprotocol", "GET", "Sec-WebSocket-Protocol", "chatnode.v9.json", 400},
		{"ours among others", "GET", "Sec-WebSocket-Protocol", "x, chatnode.v1.json", 101},
		{"the host itself", "GET", "Origin", "http://" + n.http.Listener.Addr().String(), 101},
		{"a configured origin", "GET", "Origin", "https://chat.example.org", 101},
		{"another origin", "GET", "Origin", "https://evil.example.org", 403},
		{"a suffix of ours", "GET", "Origin", "https://chat.example.org.evil.org", 403},
		{"a prefix of ours", "GET", "Origin", "https://evil-chat.example.org", 403},
		{"another scheme", "GET", "Origin", "http://chat.example.org", 403},
		{"null", "GET", "Origin", "null", 403},
		{"empty", "GET", "Origin", " ", 403},
		{"file", "GET", "Origin", "file://", 403},
		{"with a user", "GET", "Origin", "http://x@" + n.http.Listener.Addr().String(), 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, n.http.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range good {
				req.Header.Set(k, v)
			}
			if tt.header != "" {
				req.Header.Set(tt.header, tt.value)
			}
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
			if tt.want != 101 && resp.Header.Get("Content-Type") != wire.ProblemContentType {
				t.Errorf("content type %q, want a problem", resp.Header.Get("Content-Type"))
			}
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	n := start(t, func(c *ws.Config, _ *session.Config) { c.ConnectionsMax = 1 })
	n.login("ann", "d")
	_, resp, err := websocket.DefaultDialer.Dial(n.url, nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("the second connection got %v, %v, want 503", resp, err)
	}
	_ = resp.Body.Close()
}

func TestSlowConsumerIsCaughtUp(t *testing.T) {
	n := start(t, nil)
	n.Room(t, "r", "bob")
	c := n.login("bob", "d")
	c.write(`{"type":"subscribe","ref":1,"conv":"r","from":1}`)
	c.answer(1)
	text := strings.Repeat("x", 10_000)
	var last chat.Ack
	for i := range uint64(3000) { // 30 MB, more than the kernel takes
		last = n.Say(t, "r", i, text)
	}
	c.find(func(r *wire.Reply) bool {
		return r.Type == wire.Entries && r.Entries[len(r.Entries)-1].Seq == last.Seq
	})
	for i, seq := range sessiontest.Seqs(c.got, "r") {
		if seq != chat.Seq(i+1) {
			t.Fatalf("entry %d came at place %d", seq, i+1)
		}
	}
}

func TestStandstillIsCut(t *testing.T) {
	n := start(t, func(c *ws.Config, s *session.Config) {
		s.StallMax, c.CloseWait = 2*time.Second, 10*time.Millisecond
	})
	n.Room(t, "r", "bob")
	c := n.login("bob", "d")
	c.write(`{"type":"subscribe","ref":1,"conv":"r","from":1}`)
	c.answer(1)
	text := strings.Repeat("x", 99_000)
	deadline := time.Now().Add(sessiontest.Wait)
	for i := uint64(0); n.ws.Len() > 0; i++ {
		if time.Now().After(deadline) {
			t.Fatal("a connection that reads nothing was not cut")
		}
		if i < 300 {
			n.Say(t, "r", i, text)
		}
		runtime.Gosched()
	}
	for c.read() {
	}
	seqs := sessiontest.Seqs(c.got, "r")
	for i, seq := range seqs {
		if seq != chat.Seq(i+1) {
			t.Fatalf("entry %d came at place %d", seq, i+1)
		}
	}
}
