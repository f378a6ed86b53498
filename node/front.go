package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/chatnode/chatnode/api"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/internal/obs"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/ws"
)

// Timing of the client port.
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = 90 * time.Second // longer than the longest long poll, which it ends, too
	idleTimeout    = 2 * time.Minute
	headerBytesMax = 32 << 10
	drainSpread    = 2 * time.Second // clients come back over this time
	serviceTimeout = 30 * time.Second
	servicePoll    = 10 * time.Millisecond
)

// front is what clients talk to.
type front struct {
	http *http.Server
	api  *api.Server
	ws   *ws.Server
	done chan struct{} // the port is closed
}

// startFront starts the hub, the sessions' transport and the client port.
func (n *Node) startFront(ctx context.Context, bound *ports, conf *tls.Config) error {
	b := &backend{router: n.router}
	base := context.WithoutCancel(ctx)
	n.hub = fanout.NewHub(base, fanout.DefaultConfig(), fanout.Deps{Leaders: n.router, Feeds: n.feed, Log: b})
	n.run("fan-out hub", func(context.Context) error { n.hub.Close(); return nil })

	sessions := session.DefaultConfig()
	deps := &session.Deps{
		Backend: b, Verify: n.verifier.Verify, Registry: session.NewRegistry(), Node: string(n.self), Logger: n.log,
		Tails: func(id chat.ConvID, moved func()) session.Tail { return n.hub.Open(id, moved) },
	}
	sockets := ws.DefaultConfig()
	sockets.Origins = n.cfg.Origins
	socket, err := ws.New(base, sockets, ws.Deps{Session: deps, SessionConfig: &sessions, Logger: n.log})
	if err != nil {
		return err
	}
	n.registerFront(socket)
	handler, err := n.handler(deps, socket)
	if err != nil {
		socket.Close()
		return err
	}
	f := &front{api: handler, ws: socket, done: make(chan struct{}), http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
		TLSConfig:         conf,
	}}
	n.front = f
	go f.serve(bound.client, conf, n.fatal)
	// What a failed neighbour left to this node while clients went is handed on.
	n.run("leaderships", func(ctx context.Context) error { n.giveUp(ctx); return nil })
	n.run("client port", f.stop)
	n.serveDebug(bound.debug)
	return nil
}

func (f *front) serve(l net.Listener, conf *tls.Config, fatal func(error)) {
	defer close(f.done)
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	if err := f.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		fatal(err)
	}
}

// draining makes clients go elsewhere from now on: keep-alive connections end
// with their next answer, and long polls are answered, since their end is what a
// stop would wait for.
func (f *front) draining() {
	f.http.SetKeepAlivesEnabled(false)
	f.api.Drain(drainSpread)
}

// stop lets requests end, and sends the sockets away.
func (f *front) stop(ctx context.Context) error {
	f.draining()
	err := make(chan error, 1)
	go func() { err <- f.http.Shutdown(ctx) }()
	f.ws.Drain(ctx, drainSpread)
	f.ws.Close()
	shut := <-err
	if shut != nil {
		shut = errors.Join(shut, f.http.Close())
	}
	<-f.done
	return shut
}

// handler puts the routes of the client port together. One router serves them
// all, so that they name requests and refuse paths and methods alike.
func (n *Node) handler(deps *session.Deps, socket *ws.Server) (*api.Server, error) {
	control := &admin{view: view{steering{&control{n}}}, verifier: n.verifier, log: n.log}
	routes := append(control.routes(), api.Route{Methods: []string{http.MethodGet}, Path: "/v1/ws", Handler: socket})
	for path, h := range map[string]http.Handler{
		"/v1/asyncapi.json": ws.AsyncAPI(),
		"/metrics":          obs.MetricsHandler(n.metrics, n.log),
		"/healthz":          http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerText(w, http.StatusOK, "ok") }),
		"/readyz":           http.HandlerFunc(n.serveReady),
	} {
		routes = append(routes, api.Route{Methods: api.Reading(), Path: path, Handler: h})
	}
	return api.New(api.DefaultConfig(), api.Deps{
		Backend: deps.Backend, Tails: deps.Tails, Verifier: n.verifier, Now: time.Now, Logger: n.log, Routes: routes,
	})
}

func (n *Node) serveReady(w http.ResponseWriter, _ *http.Request) {
	if !n.Ready() {
		answerText(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	answerText(w, http.StatusOK, "ready")
}

func answerText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // fails only when the client is gone
}

// serveDebug serves profiles on loopback.
func (n *Node) serveDebug(l net.Listener) {
	if l == nil {
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("/metrics", obs.MetricsHandler(n.metrics, n.log))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Close
	}()
	n.run("debug port", func(context.Context) error {
		err := server.Close()
		<-done
		return err
	})
}

// awaitService waits until this node can serve: it has a map and knows a leader
// of every group. A cluster without a quorum is no reason to fail: the node goes
// on, and becomes ready when there is one.
func (n *Node) awaitService(ctx context.Context) error {
	limit := time.NewTimer(serviceTimeout)
	defer limit.Stop()
	tick := time.NewTicker(servicePoll)
	defer tick.Stop()
	for {
		select {
		case err := <-n.failed: // before anybody is told that it is ready
			return err
		default:
		}
		if n.serves() {
			break
		}
		select {
		case <-ctx.Done():
			return nil // who started it stops it
		case err := <-n.failed:
			return err
		case <-limit.C:
			n.log.Warn("not ready yet: no quorum for every group; going on")
			n.background("readiness", n.awaitQuorum)
			return nil
		case <-tick.C:
		}
	}
	n.becomeReady()
	return nil
}

func (n *Node) awaitQuorum(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n.serves() {
				n.becomeReady()
				n.log.Info("node ready")
				return
			}
		}
	}
}

// serves reports whether every group has a leader that this node knows, and its
// replicas here begin to hear of theirs.
func (n *Node) serves() bool {
	m := n.router.Map()
	if m == nil {
		return false
	}
	for i := range m.Groups {
		if _, ok := n.router.GroupLeader(m.Groups[i].ID); !ok {
			return false
		}
	}
	return n.reaches()
}

// reaches reports whether some conversation group has a leader that its replica
// here hears of, or, without a replica here, that this node has heard of. While only
// some have none, as after a crash, there is no better node to go to.
func (n *Node) reaches() bool {
	m := n.router.Map()
	if m == nil {
		return false
	}
	here := n.host.Groups()
	return slices.ContainsFunc(m.Groups, func(g shard.Group) bool {
		if g.ID == shard.Meta {
			return false
		}
		known := n.router.GroupLeader
		if slices.Contains(here, g.ID) {
			known = n.host.Leader
		}
		_, ok := known(g.ID)
		return ok
	})
}

// writeRunFile says where the running node is reached; it goes when the node
// stops.
func (n *Node) writeRunFile() error {
	b, err := json.Marshal(Running{
		PID: os.Getpid(), Node: n.self, URL: n.addrs.ClientURL(), Client: n.addrs.Client, Peer: n.addrs.Peer, Debug: n.addrs.Debug,
	})
	if err != nil {
		return err
	}
	file := filepath.Join(n.dir.Path(), RunFile)
	if err := writeNew(file, append(b, '\n')); err != nil {
		return err
	}
	n.run("run file", func(context.Context) error { return os.Remove(file) })
	return nil
}

// feed gives the live feed of what a node leads.
func (n *Node) feed(node shard.NodeID) fanout.Feed {
	if node == n.self {
		return n.bus
	}
	return n.pool.Feed(node)
}
