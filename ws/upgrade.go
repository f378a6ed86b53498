package ws

import (
	"bufio"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// version of the WebSocket protocol.
const version = "13"

// ServeHTTP upgrades a request. It returns as soon as the connection is taken
// from net/http, whose goroutine and buffers end then; the link runs on a small
// goroutine of its own.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, err := s.check(r)
	if err != nil {
		if r.Header.Get("Sec-Websocket-Version") != version {
			w.Header().Set("Sec-Websocket-Version", version) // RFC 6455, section 4.4
		}
		refuse(w, status, err)
		return
	}
	token := auth.Bearer(r.Header.Get("Authorization"))
	if !s.admit() {
		e := chat.E("connect", chat.Busy, "this node has no room for connections, or stops", nil)
		e.RetryAfter = time.Second
		refuse(w, http.StatusServiceUnavailable, e)
		return
	}
	raw, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.wg.Done()
		refuse(w, http.StatusInternalServerError, chat.E("connect", chat.Internal, "", err))
		return
	}
	if brw.Reader.Buffered() > 0 || raw.SetDeadline(time.Time{}) != nil {
		s.wg.Done()
		_ = raw.Close() // it spoke before it was let in
		return
	}
	c := &conn{Conn: raw, linger: s.cfg.CloseWait, buffers: &s.buffers}
	go s.serve(c, token, detached(r))
}

// detached is the request without what keeps net/http's memory alive.
func detached(r *http.Request) *http.Request {
	return &http.Request{
		Method: r.Method, Header: r.Header.Clone(), Host: r.Host, URL: r.URL,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

// check says why a request is not let in.
func (s *Server) check(r *http.Request) (int, error) {
	fail := func(status int, code chat.Code, msg string) (int, error) {
		return status, chat.E("connect", code, msg, nil)
	}
	switch {
	case r.Method != http.MethodGet:
		return fail(http.StatusMethodNotAllowed, chat.Invalid, "a WebSocket begins with GET")
	case !websocket.IsWebSocketUpgrade(r):
		return fail(http.StatusUpgradeRequired, chat.Invalid, "this path speaks WebSocket")
	case r.Header.Get("Sec-Websocket-Version") != version:
		return fail(http.StatusBadRequest, chat.UnsupportedVer, "the WebSocket version is "+version)
	case !goodKey(r.Header.Get("Sec-Websocket-Key")):
		return fail(http.StatusBadRequest, chat.Invalid, "Sec-WebSocket-Key must be 16 bytes in base64")
	case !s.allowed(r):
		return fail(http.StatusForbidden, chat.Forbidden, "this origin is not allowed")
	}
	offered := websocket.Subprotocols(r)
	if len(offered) > 0 && !slices.Contains(offered, wire.Subprotocol) {
		return fail(http.StatusBadRequest, chat.UnsupportedVer, "the subprotocol is "+wire.Subprotocol)
	}
	return 0, nil
}

func goodKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16
}

// allowed keeps pages of other sites from using a visitor's credentials. What
// is no browser sends no Origin.
func (s *Server) allowed(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	u, err := url.Parse(origins[0])
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.User != nil {
		return slices.Contains(s.cfg.Origins, "*")
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, o := range s.cfg.Origins {
		if o == "*" || strings.EqualFold(o, origins[0]) {
			return true
		}
	}
	return false
}

// refuse answers in HTTP, with the status that the handshake has for it.
func refuse(w http.ResponseWriter, status int, err error) {
	if status == http.StatusUpgradeRequired {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
	}
	p := wire.ProblemOf(err)
	p.Status = status
	wire.WriteProblem(w, p)
}

// taken is the ResponseWriter that melody upgrades: a connection that is taken
// already.
type taken struct {
	c      *conn
	header http.Header
}

func (t *taken) Header() http.Header         { return t.header }
func (t *taken) Write(b []byte) (int, error) { return t.c.Write(b) }
func (t *taken) WriteHeader(int)             {} // all was checked before; the connection is closed

func (t *taken) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return t.c, bufio.NewReadWriter(bufio.NewReaderSize(t.c, 16), bufio.NewWriterSize(t.c, 16)), nil
}
