package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/session"
)

// Deps is what the routes stand on.
type Deps struct {
	Backend  session.Backend
	Tails    session.Tails
	Verifier *auth.Verifier
	Now      func() time.Time
	Logger   *slog.Logger
	Routes   []Route // served beside the API: sockets, health, metrics, control
}

// Route hands a path to a handler as it is, for its methods. Every answer has
// the X-Request-Id in its headers when the handler begins.
type Route struct {
	Methods []string
	Path    string
	Handler http.Handler
}

// Reading are the methods of what is only read: net/http leaves the body out of
// the answer to HEAD.
func Reading() []string { return []string{http.MethodGet, http.MethodHead} }

// Server answers HTTP requests. It holds no connection and no state of a
// client, so any server of the cluster can answer any request.
type Server struct {
	cfg     Config
	deps    Deps
	echo    *echo.Echo
	slots   chan struct{} // one per request in work
	waiters chan struct{} // one per long poll that waits

	drain    sync.Once
	spread   time.Duration // over which drained pollers come back; set before draining is closed
	draining chan struct{} // closed when nobody may wait any more
}

// New makes a server.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s := &Server{
		cfg: cfg, deps: deps, echo: echo.New(),
		slots:   make(chan struct{}, cfg.RequestsMax),
		waiters: make(chan struct{}, cfg.WaitersMax), draining: make(chan struct{}),
	}
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(identify, s.recover)
	s.routes()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// Drain sends the long polls that wait, and all that would wait from now on, to
// another node, each to come there after a moment of its own within spread.
// Other requests are served as before.
func (s *Server) Drain(spread time.Duration) {
	s.drain.Do(func() {
		s.spread = max(spread, time.Millisecond)
		close(s.draining)
	})
}

func (s *Server) routes() {
	v1 := s.echo.Group("/v1/conversations")
	v1.POST("", s.with(s.create))
	v1.Match(Reading(), "/:conv", s.with(s.info))
	v1.POST("/:conv/messages", s.with(s.send))
	v1.POST("/:conv/members", s.with(s.members))
	v1.Match(Reading(), "/:conv/entries", s.with(s.entries))
	v1.Match(Reading(), "/:conv/proof", s.with(s.proof))
	s.echo.Match(Reading(), "/v1/openapi.json", serveOpenAPI)
	for _, r := range s.deps.Routes {
		s.echo.Match(r.Methods, r.Path, direct(r.Handler))
	}
}

// direct serves h with the connection's own writer: echo's wrapper does not
// let a WebSocket take the connection over.
func direct(h http.Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		h.ServeHTTP(c.Response().Writer, c.Request())
		return nil
	}
}
