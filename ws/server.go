package ws

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/olahol/melody"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/wire"
)

// Deps is what the server stands on.
type Deps struct {
	Session       *session.Deps
	SessionConfig *session.Config
	Logger        *slog.Logger
}

// Server serves WebSockets. It is an http.Handler.
type Server struct {
	cfg    Config
	deps   Deps
	ctx    context.Context
	cancel context.CancelFunc

	shards    []*shard
	next      atomic.Uint64
	buffers   sync.Pool
	overflows atomic.Uint64
	ticker    chan struct{} // closed when the ticker has ended

	mu       sync.Mutex // guards links and draining; taken alone
	links    map[*link]struct{}
	draining bool
	wg       sync.WaitGroup // of links
}

// New starts a server; ctx bounds the life of its sessions.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Server{
		cfg: cfg, deps: deps, ctx: ctx, cancel: cancel, links: make(map[*link]struct{}), ticker: make(chan struct{}),
		buffers: sync.Pool{New: newBuffer},
	}
	for i := range cfg.Shards {
		sh := &shard{melody: s.newMelody(i), wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
		s.shards = append(s.shards, sh)
		go sh.run()
	}
	go s.tick()
	return s, nil
}

// newMelody makes one pump. The periods differ, so that the pings of many
// connections made at once do not stay together.
func (s *Server) newMelody(i int) *melody.Melody {
	m := melody.New()
	m.Upgrader = &websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: new(sync.Pool),
		CheckOrigin:  func(*http.Request) bool { return true }, // checked before
		Subprotocols: []string{wire.Subprotocol},
	}
	m.Config = &melody.Config{
		WriteWait: s.cfg.WriteWait, PongWait: s.cfg.PongWait, MaxMessageSize: s.cfg.FrameBytesMax,
		PingPeriod:        s.cfg.PingEvery - s.cfg.PingEvery/10*time.Duration(i)/time.Duration(s.cfg.Shards),
		MessageBufferSize: bufferFrames,
	}
	m.HandleConnect(func(ms *melody.Session) { s.connected(ms) })
	m.HandleDisconnect(func(ms *melody.Session) { s.disconnected(linkOf(ms)) })
	m.HandleMessage(func(ms *melody.Session, b []byte) { linkOf(ms).received(b) })
	m.HandleMessageBinary(func(ms *melody.Session, _ []byte) { linkOf(ms).receivedBinary() })
	m.HandleSentMessage(func(ms *melody.Session, b []byte) { linkOf(ms).sent(b) })
	m.HandleError(func(ms *melody.Session, err error) { linkOf(ms).failed(err) })
	return m
}

// linkKey is where a melody session keeps its link.
const linkKey = "link"

func linkOf(ms *melody.Session) *link {
	v, _ := ms.Get(linkKey)
	return v.(*link)
}

// admit counts a connection, unless there is no room for it.
func (s *Server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || len(s.links) >= s.cfg.ConnectionsMax {
		return false
	}
	s.wg.Add(1)
	return true
}

// serve runs a link until it ends.
func (s *Server) serve(c *conn, token string, r *http.Request) {
	defer s.wg.Done()
	sh := s.shards[s.next.Add(1)%uint64(len(s.shards))]
	l := &link{srv: s, shard: sh, conn: c}
	l.s = session.New(s.ctx, s.deps.SessionConfig, s.deps.Session, l, token, time.Now())
	w := &taken{c: c, header: http.Header{}}
	if err := sh.melody.HandleRequestWithKeys(w, r, map[string]any{linkKey: l}); err != nil {
		s.deps.Logger.Debug("upgrade failed", "err", err)
	}
	c.kill()
	l.s.Close()
}

func (s *Server) connected(ms *melody.Session) {
	l := linkOf(ms)
	l.m = ms
	ms.Request = nil // it is not needed any more, and not small
	s.mu.Lock()
	s.links[l] = struct{}{}
	late := s.draining
	s.mu.Unlock()
	if late {
		l.s.End(chat.ShuttingDn, "the node stops", 0, time.Now())
	}
}

func (s *Server) disconnected(l *link) {
	s.mu.Lock()
	delete(s.links, l)
	s.mu.Unlock()
}

func (s *Server) list() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*link, 0, len(s.links))
	for l := range s.links {
		all = append(all, l)
	}
	return all
}

// Len counts the connections.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.links)
}

// Overflows counts connections broken off because melody dropped a frame; it
// stays at zero unless there is a fault in this package.
func (s *Server) Overflows() uint64 { return s.overflows.Load() }

func (s *Server) tick() {
	defer close(s.ticker)
	ticker := time.NewTicker(s.cfg.TickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-ticker.C:
			for _, l := range s.list() {
				l.tick(now)
			}
		}
	}
}

// Drain refuses new connections and asks those that are there to go to another
// node, each after a moment of its own within spread. It returns when all are
// gone, or when ctx ends.
func (s *Server) Drain(ctx context.Context, spread time.Duration) {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	now := time.Now()
	for _, l := range s.list() {
		wait := time.Duration(rand.Int64N(int64(max(spread, time.Millisecond))))
		l.s.End(chat.ShuttingDn, "the node stops", wait, now)
	}
	gone := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		for _, l := range s.list() {
			l.conn.abort()
		}
		<-gone
	}
}

// Close breaks off what is still connected and stops the server.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	s.Drain(ctx, 0)
	s.cancel()
	<-s.ticker
	for _, sh := range s.shards {
		close(sh.stop)
		<-sh.done
		_ = sh.melody.Close() // it is open
	}
}
