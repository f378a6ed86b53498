// Package sessiontest gives tests a log without Raft: the real conversation
// machine over rows in memory behind the interfaces that sessions, hubs and
// HTTP handlers stand on, and faults to inject.
package sessiontest

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/shard"
)

const group = 1

// Cluster is one group on one node. It implements [session.Backend],
// [fanout.Leaders] and [fanout.Log].
type Cluster struct {
	Bus *fanout.Bus
	Hub *fanout.Hub

	mu      sync.Mutex // guards what follows
	store   *fsmtest.Store
	machine *conv.Machine
	index   uint64
	timeMS  int64
	salt    uint64
	readErr error
	refuse  func(cmd []byte) error
	hold    bool
	held    []proposal
	queue   []proposal
	results []fsm.Result
	watch   map[int]func()
	watches int
	node    shard.NodeID
	reads   int

	wake chan struct{}
	done chan struct{}
}

type proposal struct {
	cmd  []byte
	done func(fsm.Result, error)
}

// New starts a cluster that ends with the test.
func New(tb testing.TB) *Cluster {
	tb.Helper()
	c := &Cluster{
		store: fsmtest.NewStore(), timeMS: 1_760_000_000_000, watch: make(map[int]func()), node: "n1",
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	c.Bus = fanout.NewBus(func(chat.ConvID) bool { return c.leader() == "n1" })
	c.machine = conv.New(group, c.Bus)
	cfg := fanout.DefaultConfig()
	cfg.RetryWait = 5 * time.Millisecond
	c.Hub = fanout.NewHub(tb.Context(), cfg, fanout.Deps{
		Leaders: c, Feeds: func(shard.NodeID) fanout.Feed { return c.Bus }, Log: c,
	})
	go c.run()
	tb.Cleanup(func() {
		close(c.wake)
		<-c.done
		c.Hub.Close()
		c.Bus.Close()
	})
	return c
}

// Tails is the hub as sessions want it.
func (c *Cluster) Tails(id chat.ConvID, moved func()) session.Tail { return c.Hub.Open(id, moved) }

// Propose implements [session.Backend].
func (c *Cluster) Propose(_ chat.ConvID, cmd []byte, _ time.Time, done func(fsm.Result, error)) {
	c.mu.Lock()
	if c.refuse != nil {
		if err := c.refuse(cmd); err != nil {
			c.mu.Unlock()
			done(fsm.Result{}, err)
			return
		}
	}
	if c.hold {
		c.held = append(c.held, proposal{cmd, done})
		c.mu.Unlock()
		return
	}
	c.queue = append(c.queue, proposal{cmd, done})
	first := len(c.queue) == 1
	c.mu.Unlock()
	if first {
		c.kick()
	}
}

func (c *Cluster) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run applies what is proposed, as a group does: a batch at a time.
func (c *Cluster) run() {
	defer close(c.done)
	var w fsm.BatchWriter
	var batch []proposal
	for range c.wake {
		for {
			c.mu.Lock()
			batch, c.queue = c.queue, batch[:0]
			if len(batch) == 0 {
				c.mu.Unlock()
				break
			}
			results := c.apply(&w, batch)
			c.mu.Unlock()
			for i, p := range batch {
				p.done(results[i], nil)
			}
		}
	}
}

// apply applies proposals in batches. The lock is held.
func (c *Cluster) apply(w *fsm.BatchWriter, batch []proposal) []fsm.Result {
	c.results = c.results[:0]
	for len(batch) > 0 {
		n := 0
		for n < len(batch) && w.Fits(len(batch[n].cmd)) {
			c.salt++
			var salt chat.Salt
			binary.BigEndian.PutUint64(salt[:], c.salt)
			w.Add(salt, batch[n].cmd)
			n++
		}
		c.timeMS++
		c.index++
		var err error
		c.results, err = c.machine.Apply(c.store, c.index, w.Finish(fsm.Stamp{TimeMS: c.timeMS}), c.results)
		if err != nil {
			panic(err) // the machine is broken: nothing that a test could go on with
		}
		batch = batch[n:]
	}
	return c.results
}

// Hold keeps proposals from being applied until Release.
func (c *Cluster) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = true
}

// Held counts the proposals that wait.
func (c *Cluster) Held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}

// Release applies what was held.
func (c *Cluster) Release() {
	c.mu.Lock()
	c.hold = false
	c.queue = append(c.queue, c.held...)
	c.held = nil
	c.mu.Unlock()
	c.kick()
}

// Refuse makes every proposal fail with what fn returns, unless that is nil.
func (c *Cluster) Refuse(fn func(cmd []byte) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = fn
}

// FailReads makes reads fail with err until it is nil again.
func (c *Cluster) FailReads(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readErr = err
}

// Reads counts the pages read by sessions.
func (c *Cluster) Reads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads
}

// Lead moves the leadership; "" leaves the group without a leader. Events go to
// nobody while it is elsewhere.
func (c *Cluster) Lead(node shard.NodeID) {
	c.mu.Lock()
	c.node = node
	if node == "n1" {
		c.machine.SetSink(c.Bus)
	} else {
		c.machine.SetSink(nil)
	}
	watch := make([]func(), 0, len(c.watch))
	for _, fn := range c.watch {
		watch = append(watch, fn)
	}
	c.mu.Unlock()
	c.Bus.Resign()
	for _, fn := range watch {
		fn()
	}
}

func (c *Cluster) leader() shard.NodeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node
}

// LeaderOf implements [fanout.Leaders].
func (c *Cluster) LeaderOf(chat.ConvID) (shard.NodeID, bool) {
	node := c.leader()
	return node, node != ""
}

// Watch implements [fanout.Leaders].
func (c *Cluster) Watch(changed func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches++
	n := c.watches
	c.watch[n] = changed
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watch, n)
	}
}

// Page implements [session.Backend].
func (c *Cluster) Page(_ context.Context, q conv.Query, f session.Freshness) (conv.Page, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readErr != nil {
		return conv.Page{}, c.readErr
	}
	c.reads++
	p, err := conv.ReadPage(c.store, group, q)
	if err == nil && p.Head < f.MinSeq {
		return conv.Page{}, chat.E("history", chat.Behind, "", nil)
	}
	return p, err
}

// Info implements [session.Backend].
func (c *Cluster) Info(_ context.Context, id chat.ConvID, user chat.UserID, _ session.Freshness) (chat.Info, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return conv.ReadInfo(c.store, group, id, user)
}

// Proof implements [session.Backend].
func (c *Cluster) Proof(_ context.Context, q conv.ProofQuery, _ session.Freshness) (conv.Proof, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return conv.ReadProof(c.store, group, q)
}

// ReadAfter implements [fanout.Log].
func (c *Cluster) ReadAfter(_ context.Context, id chat.ConvID, after chat.Seq, limit int) ([]chat.Entry, chat.Seq, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readErr != nil {
		return nil, 0, c.readErr
	}
	p, err := conv.ReadPage(c.store, group, conv.Query{Conv: id, All: true, Mode: conv.After, Seq: after, Limit: limit})
	return p.Entries, p.Head, err
}

// Do proposes a command and waits for its result.
func (c *Cluster) Do(tb testing.TB, cmd fsm.Command) fsm.Result {
	tb.Helper()
	var key chat.ConvID
	if k, err := fsm.KeyOf(fsm.Encode(nil, cmd)); err == nil {
		key = chat.ConvID(k)
	}
	got := make(chan fsm.Result, 1)
	c.Propose(key, fsm.Encode(nil, cmd), time.Time{}, func(r fsm.Result, err error) {
		if err != nil {
			r.Code = chat.CodeOf(err)
		}
		got <- r
	})
	return <-got
}

// Must is Do for a command that must be accepted.
func (c *Cluster) Must(tb testing.TB, cmd fsm.Command) chat.Ack {
	tb.Helper()
	r := c.Do(tb, cmd)
	if r.Code != chat.OK {
		tb.Fatalf("%+v was refused: %s %s", cmd, r.Code, r.Msg)
	}
	return r.Ack
}

// ID is a client id of the cluster's time, one for each n.
func ID(n uint64) chat.ClientID { return fsmtest.ID(1_760_000_000_000, n) }

// Room makes a group conversation of ann, who owns it, and writers.
func (c *Cluster) Room(tb testing.TB, id chat.ConvID, writers ...chat.UserID) {
	tb.Helper()
	members := make([]chat.Change, 0, len(writers))
	for _, u := range writers {
		members = append(members, chat.Change{User: u, Role: chat.Writer})
	}
	c.Must(tb, fsm.Create{
		Conv: id, Kind: chat.Group, Policy: chat.AllHistory, Creator: "ann", Device: "d", ClientID: ID(1 << 40), Members: members,
	})
}

// Say appends a message of ann.
func (c *Cluster) Say(tb testing.TB, id chat.ConvID, n uint64, text string) chat.Ack {
	tb.Helper()
	return c.Must(tb, fsm.Append{Conv: id, Sender: "ann", Device: "d", ClientID: ID(n), Text: text})
}

// Members changes members as ann.
func (c *Cluster) Members(tb testing.TB, id chat.ConvID, n uint64, role chat.Role, users ...chat.UserID) chat.Ack {
	tb.Helper()
	changes := make([]chat.Change, 0, len(users))
	for _, u := range users {
		changes = append(changes, chat.Change{User: u, Role: role})
	}
	return c.Must(tb, fsm.ChangeMembers{Conv: id, Actor: "ann", Device: "d", ClientID: ID(n), Changes: changes})
}

var (
	_ session.Backend = (*Cluster)(nil)
	_ fanout.Leaders  = (*Cluster)(nil)
	_ fanout.Log      = (*Cluster)(nil)
)
