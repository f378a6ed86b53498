package raftgroup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/seglog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second

// tally is a machine that keeps every command under its number and answers the
// number: enough to see what was applied, how often and in which order.
type tally struct {
	group shard.GroupID
	next  uint64
	known bool
	sink  fsm.Sink
	bad   *atomic.Bool // refuse to apply
}

func tallyKey(g shard.GroupID, n uint64) []byte {
	k := binary.BigEndian.AppendUint32(nil, uint32(g))
	k = append(k, 0x02)
	return binary.BigEndian.AppendUint64(k, n)
}

func (m *tally) load(w fsm.Reader) error {
	if m.known {
		return nil
	}
	m.next = 1
	return w.Scan(tallyKey(m.group, 0), tallyKey(m.group, 1<<63), true, func(k, _ []byte) (bool, error) {
		m.next = binary.BigEndian.Uint64(k[5:]) + 1
		return false, nil
	})
}

func (m *tally) Apply(w fsm.Writer, index uint64, payload []byte, dst []fsm.Result) ([]fsm.Result, error) {
	if err := m.load(w); err != nil {
		return dst, err
	}
	m.known = true
	if m.bad != nil && m.bad.Load() {
		return dst, chat.E("apply", chat.UnknownType, "told to fail", nil)
	}
	b, err := fsm.ReadBatch(payload)
	if err != nil {
		return dst, err
	}
	for {
		_, cmd, ok := b.Next()
		if !ok {
			return dst, nil
		}
		if err := w.Set(tallyKey(m.group, m.next), cmd); err != nil {
			return dst, err
		}
		dst = append(dst, fsm.Result{Ack: chat.Ack{Seq: chat.Seq(m.next), TimeMS: b.Stamp.TimeMS}})
		m.next++
		if m.sink != nil {
			m.sink.Appended(&chat.Entry{Seq: chat.Seq(m.next - 1)}, nil)
		}
	}
}

func (m *tally) Replay(w fsm.Writer, index uint64, payload []byte) error {
	_, err := m.Apply(w, index, payload, nil)
	return err
}
func (m *tally) SetSink(s fsm.Sink)                        { m.sink = s }
func (m *tally) Reset()                                    { m.known = false }
func (m *tally) Fingerprint(fsm.Reader) (chat.Hash, error) { return chat.Hash{}, nil }

// wires are the cluster's network: they can be cut between two nodes.
type wires struct {
	mu    sync.Mutex
	cond  sync.Cond
	cut   map[[2]shard.NodeID]bool
	conns map[*wire]struct{}
}

func newWires() *wires {
	w := &wires{cut: map[[2]shard.NodeID]bool{}, conns: map[*wire]struct{}{}}
	w.cond.L = &w.mu
	return w
}

func pair(a, b shard.NodeID) [2]shard.NodeID {
	if b < a {
		a, b = b, a
	}
	return [2]shard.NodeID{a, b}
}

func (w *wires) set(a, b shard.NodeID, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[pair(a, b)] = cut
	w.cond.Broadcast()
}

// isolate cuts a node off from all others, or joins it again.
func (c *cluster) isolate(id shard.NodeID, cut bool) {
	for _, n := range c.nodes {
		if n.id != id {
			c.wires.set(id, n.id, cut)
		}
	}
}

// wire is a connection that stands still while it is cut.
type wire struct {
	net.Conn
	w      *wires
	ends   [2]shard.NodeID
	closed bool
}

func (c *wire) pass() error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for c.w.cut[c.ends] && !c.closed {
		c.w.cond.Wait()
	}
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

func (c *wire) Write(p []byte) (int, error) {
	if err := c.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *wire) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if perr := c.pass(); perr != nil {
		return 0, perr
	}
	return n, err
}

func (c *wire) Close() error {
	c.w.mu.Lock()
	c.closed = true
	delete(c.w.conns, c)
	c.w.cond.Broadcast()
	c.w.mu.Unlock()
	return c.Conn.Close()
}

func (w *wires) dial(ctx context.Context, from, to shard.NodeID, addr string) (net.Conn, error) {
	w.mu.Lock()
	cut := w.cut[pair(from, to)]
	w.mu.Unlock()
	if cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &wire{Conn: conn, w: w, ends: pair(from, to)}
	w.mu.Lock()
	w.conns[c] = struct{}{}
	w.mu.Unlock()
	return c, nil
}

// member is one node of a test cluster.
type member struct {
	c     *cluster
	id    shard.NodeID
	dir   string
	host  *Host
	logs  store.Log
	state *store.State
	place *store.Dir
	fatal chan error
	bad   atomic.Bool
	sinks func(shard.GroupID) fsm.Sink
}

type cluster struct {
	t     testing.TB
	cfg   Config
	wires *wires
	nodes []*member
	wrap  func(id shard.NodeID, l store.Log) store.Log // of each log, nil for none
	mach  func(*member, shard.GroupID) fsm.Machine
	deps  func(*member, *Deps)

	mu    sync.Mutex
	addrs map[string]shard.NodeID // of running nodes
	at    map[shard.NodeID]string
}

func testConfig() Config {
	c := DefaultConfig()
	c.Heartbeat = 200 * time.Millisecond
	c.CommitTimeout = 50 * time.Millisecond
	c.SlowWrite, c.StuckWrite = time.Minute, 2*time.Minute
	return c
}

// calmConfig is for tests that a spurious election on a busy machine would fail.
func calmConfig() Config {
	c := testConfig()
	c.Heartbeat = 2 * time.Second
	return c
}

func logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	if os.Getenv("RAFT_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// newCluster makes n nodes that do not run yet.
func newCluster(tb testing.TB, n int, cfg Config) *cluster {
	tb.Helper()
	c := &cluster{t: tb, cfg: cfg, wires: newWires(), addrs: map[string]shard.NodeID{}, at: map[shard.NodeID]string{}}
	for i := range n {
		c.nodes = append(c.nodes, &member{c: c, id: shard.NodeID(fmt.Sprintf("n%d", i+1)), dir: tb.TempDir()})
	}
	tb.Cleanup(func() {
		c.wires.mu.Lock()
		clear(c.wires.cut)
		c.wires.cond.Broadcast()
		c.wires.mu.Unlock()
		for _, m := range c.nodes {
			m.kill()
		}
	})
	return c
}

// start brings a node up on its directory, with the given groups.
func (m *member) start(groups ...shard.GroupID) {
	m.c.t.Helper()
	if err := m.tryStart(groups...); err != nil {
		m.c.t.Fatalf("start %s: %v", m.id, err)
	}
}

func (m *member) tryStart(groups ...shard.GroupID) (err error) {
	c := m.c
	m.fatal = make(chan error, 1)
	if m.place, err = store.OpenDir(filepath.Join(m.dir, "node")); err != nil {
		return err
	}
	log := logger(c.t).With("node", string(m.id))
	if m.logs, err = seglog.Open(filepath.Join(m.dir, "log"), seglog.Options{LogOptions: store.LogOptions{Logger: log}}); err != nil {
		return err
	}
	if c.wrap != nil {
		m.logs = c.wrap(m.id, m.logs)
	}
	if m.state, err = store.OpenState(filepath.Join(m.dir, "state"), store.StateOptions{Logger: log}); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.addrs[ln.Addr().String()] = m.id
	c.at[m.id] = ln.Addr().String()
	c.mu.Unlock()
	deps := Deps{
		Cluster: "test", NodeID: m.id, Logs: m.logs, State: m.state, Logger: log, Listener: ln, Promises: m.place,
		Machine: func(g shard.GroupID) fsm.Machine {
			if c.mach != nil {
				return c.mach(m, g)
			}
			return &tally{group: g, bad: &m.bad}
		},
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			c.mu.Lock()
			to := c.addrs[addr]
			c.mu.Unlock()
			return c.wires.dial(ctx, m.id, to, addr)
		},
		Addresses: func(id shard.NodeID) string {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.at[id]
		},
		Fatal: func(err error) { m.fatal <- err },
	}
	if c.deps != nil {
		c.deps(m, &deps)
	}
	cfg := c.cfg
	if cfg.BoltDir != "" {
		cfg.BoltDir = filepath.Join(m.dir, "bolt")
	}
	if m.host, err = Open(cfg, deps); err != nil {
		return err
	}
	if m.sinks != nil {
		m.host.SetSink(m.sinks)
	}
	for _, g := range groups {
		if err := m.host.Start(g); err != nil {
			return err
		}
	}
	return nil
}

// kill ends a node without giving anything away.
func (m *member) kill() {
	var errs []error
	if m.host != nil {
		errs = append(errs, m.host.Close())
	}
	if m.state != nil {
		errs = append(errs, m.state.Close())
	}
	if m.logs != nil {
		errs = append(errs, m.logs.Close())
	}
	if m.place != nil {
		errs = append(errs, m.place.Close())
	}
	m.host, m.state, m.logs, m.place = nil, nil, nil, nil
	if err := errors.Join(errs...); err != nil {
		m.c.t.Logf("stop %s: %v", m.id, err)
	}
}

// boot starts all nodes with groups 1..groups of which all are voters.
func (c *cluster) boot(groups int) {
	c.t.Helper()
	var servers []Server
	for _, m := range c.nodes {
		servers = append(servers, Server{ID: m.id, Voter: true})
	}
	c.bootWith(groups, servers)
}

func (c *cluster) bootWith(groups int, servers []Server) {
	c.t.Helper()
	var ids []shard.GroupID
	for g := 1; g <= groups; g++ {
		ids = append(ids, shard.GroupID(g))
	}
	for i, m := range c.nodes {
		m.start()
		for _, g := range ids {
			if i == 0 {
				if err := m.host.Bootstrap(g, servers); err != nil {
					c.t.Fatalf("bootstrap: %v", err)
				}
			}
			if err := m.host.Start(g); err != nil {
				c.t.Fatalf("start group %d: %v", g, err)
			}
		}
	}
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; {
		if cond() {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("waited %v for: %s", patience, what)
		}
		<-tick.C
	}
}

// leader waits for the ready leader of g among the running nodes.
func (c *cluster) leader(g shard.GroupID) (lead *member) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("a leader of group %d", g), func() bool {
		for _, m := range c.nodes {
			if m.host != nil && m.host.IsLeader(g) {
				lead = m
				return true
			}
		}
		return false
	})
	return lead
}

func (c *cluster) others(m *member) (out []*member) {
	for _, n := range c.nodes {
		if n != m {
			out = append(out, n)
		}
	}
	return out
}

type answer struct {
	res fsm.Result
	err error
}

// propose sends one command and waits for the answer.
func (m *member) propose(g shard.GroupID, cmd string) (fsm.Result, error) {
	ch := make(chan answer, 1)
	m.host.Propose(g, command(cmd), func(r fsm.Result, err error) { ch <- answer{r, err} })
	select {
	case a := <-ch:
		return a.res, a.err
	case <-time.After(patience):
		return fsm.Result{}, errors.New("no answer to a proposal")
	}
}

// command pads the text to something that looks like a command.
func command(s string) []byte { return []byte(s) }

// put proposes at whoever leads until it is accepted.
func (c *cluster) put(g shard.GroupID, cmd string) fsm.Result {
	c.t.Helper()
	var res fsm.Result
	eventually(c.t, "command "+cmd, func() bool {
		r, err := c.leader(g).propose(g, cmd)
		res = r
		return err == nil
	})
	return res
}

// rows are the commands in a node's state of g, in order.
func (m *member) rows(g shard.GroupID) (out []string) {
	m.c.t.Helper()
	v, err := m.host.View(g)
	if err != nil {
		m.c.t.Fatalf("view: %v", err)
	}
	defer v.Close()
	err = v.Scan(tallyKey(g, 0), tallyKey(g, 1<<63), false, func(_, val []byte) (bool, error) {
		out = append(out, string(val))
		return true, nil
	})
	if err != nil {
		m.c.t.Fatalf("scan: %v", err)
	}
	return out
}

// same waits until every running node has the same number of rows, and compares.
func (c *cluster) same(g shard.GroupID, want int) {
	c.t.Helper()
	var first []string
	for _, m := range c.nodes {
		if m.host == nil || m.host.group(g) == nil {
			continue
		}
		eventually(c.t, fmt.Sprintf("%d rows at %s", want, m.id), func() bool { return len(m.rows(g)) >= want })
		rows := m.rows(g)
		if first == nil {
			first = rows
		}
		for i := range min(len(rows), len(first)) {
			if rows[i] != first[i] {
				c.t.Fatalf("%s: row %d is %q, elsewhere %q", m.id, i+1, rows[i], first[i])
			}
		}
	}
}

// openTestLog opens the log of a node that does not run.
func openTestLog(t *testing.T, m *member) (store.Log, error) {
	t.Helper()
	return seglog.Open(filepath.Join(m.dir, "log"), seglog.Options{})
}
