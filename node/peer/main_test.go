package peer

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend answers what it is told to; proposals at once, in the order in which
// they come.
type backend struct {
	mu   sync.Mutex // guards cmds
	cmds []string
	hold atomic.Bool // proposals are never answered
	held chan func(fsm.Result, error)
	fail func(g shard.GroupID, cmd []byte) error
}

func (b *backend) ServePropose(g shard.GroupID, cmd []byte, done func(fsm.Result, error)) {
	if b.hold.Load() {
		b.held <- done
		return
	}
	if b.fail != nil {
		if err := b.fail(g, cmd); err != nil {
			done(fsm.Result{}, err)
			return
		}
	}
	b.mu.Lock()
	b.cmds = append(b.cmds, string(cmd))
	n := len(b.cmds)
	b.mu.Unlock()
	done(fsm.Result{Ack: chat.Ack{Seq: chat.Seq(n), Root: chat.Hash{1}}}, nil)
}

func (b *backend) ServeRead(ctx context.Context, g shard.GroupID, req, dst []byte) ([]byte, error) {
	switch string(req) {
	case "wait":
		<-ctx.Done()
		return dst, ctx.Err()
	case "large":
		return append(dst, make([]byte, answerBytesMax)...), nil
	case "missing":
		return dst, chat.E("read", chat.NotFound, "no such thing", nil)
	}
	return append(append(dst, byte(g)), req...), nil
}

func (b *backend) Refused(_ shard.GroupID, err error) error { return err }
func (b *backend) Led(dst []shard.GroupID) []shard.GroupID  { return append(dst, 1, 7) }
func (b *backend) Join(_ context.Context, j Join) (*shard.Map, error) {
	if j.Token != "secret" {
		return nil, chat.E("join", chat.BadToken, "no", nil)
	}
	return testMap("s", "127.0.0.1:1"), nil
}
func (b *backend) Map(context.Context) (*shard.Map, error) { return testMap("s", "127.0.0.1:1"), nil }
func (b *backend) Status(context.Context) (shard.NodeStatus, error) {
	return shard.NodeStatus{Node: "s", Groups: []shard.GroupStatus{{Group: 1, Leads: true, Voters: []shard.NodeID{"s"}}}}, nil
}
func (b *backend) Change(_ context.Context, c shard.Change) error {
	if c.Op != shard.Transfer {
		return chat.E("change", chat.Moved, "", nil)
	}
	return nil
}

func testMap(id shard.NodeID, addr string) *shard.Map {
	m, err := shard.New(shard.Map{
		Cluster: "test", Epoch: 3, Level: 1,
		Nodes:  []shard.Node{{ID: id, Client: "x:1", Peer: addr, State: shard.Active, Level: 1}},
		Groups: []shard.Group{{ID: 0, Epoch: 1, Replicas: []shard.NodeID{id}}, {ID: 1, Epoch: 1, Replicas: []shard.NodeID{id}}},
	}, shard.Spread(1))
	if err != nil {
		panic(err) // the map of this file is well-formed
	}
	return m
}

func identity(self shard.NodeID, cluster string) Identity {
	return Identity{Self: self, Cluster: func() string { return cluster }, Epoch: func() uint64 { return 3 }}
}

// serve runs a server on a loopback port.
func serve(tb testing.TB, b *backend, feed fanout.Feed, wrap func(net.Conn) net.Conn) (addr string, s *Server) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s, err = NewServer(DefaultConfig(), ServerDeps{Identity: identity("s", "test"), Backend: b, Feed: feed, Control: b})
	if err != nil {
		tb.Fatal(err)
	}
	if wrap != nil {
		l = wrapped{l, wrap}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(l); err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	tb.Cleanup(func() { s.Close(); wg.Wait() })
	return l.Addr().String(), s
}

type wrapped struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (w wrapped) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		c = w.wrap(c)
	}
	return c, err
}

// calm is a configuration for machines that are busy with other tests: nobody
// is given up for being slow.
func calm() Config {
	cfg := DefaultConfig()
	cfg.SilentAfter, cfg.BreakAfter = 10*time.Minute, 20*time.Minute
	return cfg
}

func connect(tb testing.TB, cfg Config, addr string, deps PoolDeps) *Pool {
	tb.Helper()
	if deps.Identity.Self == "" {
		deps.Identity = identity("c", "test")
	}
	p, err := NewPool(cfg, deps)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	p.SetMap(testMap("s", addr))
	return p
}

func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("not within a minute: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// caller gathers answers.
type caller struct {
	ch chan outcome
}

type outcome struct {
	token uint64
	res   fsm.Result
	err   error
}

func (c *caller) Answered(token uint64, res fsm.Result, err error) {
	c.ch <- outcome{token, res, err}
}
