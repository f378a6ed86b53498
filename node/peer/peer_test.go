package peer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/router"
)

func TestProposalsKeepTheirOrder(t *testing.T) {
	b := &backend{}
	addr, _ := serve(t, b, nil, nil)
	p := connect(t, calm(), addr, PoolDeps{})
	eventually(t, "up", func() bool { return p.Up("s") })
	const n = 5000
	c := &caller{ch: make(chan outcome, n)}
	for i := range n {
		if err := p.Propose("s", 1, fmt.Appendf(nil, "command %d", i), c, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[uint64]bool)
	for range n {
		o := <-c.ch
		if o.err != nil || o.res.Ack.Seq != chat.Seq(o.token+1) || seen[o.token] {
			t.Fatalf("answer %+v", o)
		}
		seen[o.token] = true
	}
	for i, cmd := range b.cmds {
		if cmd != fmt.Sprintf("command %d", i) {
			t.Fatalf("place %d has %q", i, cmd)
		}
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	busy := chat.E("propose", chat.Busy, "later", errors.New("a cause that stays here"))
	busy.RetryAfter = 70 * time.Millisecond
	tests := []struct {
		err  error
		want chat.Code
		hint shard.NodeID
	}{
		{router.MovedTo("n2"), chat.Moved, "n2"},
		{router.MovedTo(""), chat.NotLeader, ""},
		{busy, chat.Busy, ""},
		{errors.New("no code"), chat.Internal, ""},
	}
	for _, tt := range tests {
		b := &backend{fail: func(shard.GroupID, []byte) error { return tt.err }}
		addr, _ := serve(t, b, nil, nil)
		p := connect(t, calm(), addr, PoolDeps{})
		eventually(t, "up", func() bool { return p.Up("s") })
		c := &caller{ch: make(chan outcome, 1)}
		if err := p.Propose("s", 1, []byte("x"), c, 1); err != nil {
			t.Fatal(err)
		}
		o := <-c.ch
		hint, _ := router.HintOf(o.err)
		if chat.CodeOf(o.err) != tt.want || hint != tt.hint || strings.Contains(o.err.Error(), "cause") {
			t.Errorf("%v came as %v, leader %q", tt.err, o.err, hint)
		}
		var e *chat.Error
		if errors.Is(tt.err, busy) && (!errors.As(o.err, &e) || e.RetryAfter != busy.RetryAfter || e.Msg != "later") {
			t.Errorf("busy came as %+v", o.err)
		}
	}
}

func TestReads(t *testing.T) {
	addr, _ := serve(t, &backend{}, nil, nil)
	p := connect(t, calm(), addr, PoolDeps{})
	eventually(t, "up", func() bool { l := p.link("s"); return l != nil && l.reads.up() })
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			req := fmt.Sprintf("request %d", i)
			got, err := p.Read(t.Context(), "s", 5, []byte(req))
			if err != nil || string(got) != "\x05"+req {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if got, err := p.Read(t.Context(), "s", 5, []byte("large")); err != nil || len(got) != answerBytesMax {
		t.Errorf("large: %d bytes, %v", len(got), err)
	}
	if _, err := p.Read(t.Context(), "s", 5, []byte("missing")); chat.CodeOf(err) != chat.NotFound {
		t.Errorf("missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Read(ctx, "s", 5, []byte("wait")); err == nil {
		t.Error("a read without an answer ended well")
	}
	if _, err := p.Read(t.Context(), "nobody", 5, nil); chat.CodeOf(err) != chat.NotLeader {
		t.Errorf("unknown node: %v", err)
	}
}

// TestSilentNode stops the server's side of the connection without closing it.
func TestSilentNode(t *testing.T) {
	b := &backend{held: make(chan func(fsm.Result, error), 100)}
	b.hold.Store(true)
	var frozen atomic.Bool
	thaw := make(chan struct{})
	addr, _ := serve(t, b, nil, func(c net.Conn) net.Conn { return &freezer{Conn: c, frozen: &frozen, thaw: thaw} })
	cfg := DefaultConfig()
	cfg.PingEvery, cfg.SilentAfter, cfg.BreakAfter = 5*time.Millisecond, 100*time.Millisecond, time.Hour
	p := connect(t, cfg, addr, PoolDeps{})
	c := &caller{ch: make(chan outcome, 2)}
	eventually(t, "taken", func() bool { return p.Propose("s", 1, []byte("x"), c, 1) == nil })
	done := <-b.held
	frozen.Store(true)
	if o := <-c.ch; chat.CodeOf(o.err) != chat.Unavailable {
		t.Fatalf("err = %v, want unavailable", o.err)
	}
	eventually(t, "down", func() bool { return !p.Up("s") })
	frozen.Store(false)
	close(thaw)
	done(fsm.Result{}, nil) // too late: it must not be given to anybody
	eventually(t, "up again", func() bool { return p.Up("s") })
	select {
	case o := <-c.ch:
		t.Errorf("answered twice: %+v", o)
	default:
	}
}

// freezer holds up writes while frozen.
type freezer struct {
	net.Conn
	frozen *atomic.Bool
	thaw   chan struct{}
}

func (f *freezer) Write(b []byte) (int, error) {
	if f.frozen.Load() {
		<-f.thaw
	}
	return f.Conn.Write(b)
}

// TestMuteConnectionIsReplaced mutes the connections that there are, for ever;
// only new ones can bring the node back.
func TestMuteConnectionIsReplaced(t *testing.T) {
	var frozen atomic.Pointer[atomic.Bool] // of connections that come now
	frozen.Store(new(atomic.Bool))
	thaw := make(chan struct{})
	addr, _ := serve(t, &backend{}, nil, func(c net.Conn) net.Conn { return &freezer{Conn: c, frozen: frozen.Load(), thaw: thaw} })
	t.Cleanup(func() { close(thaw) })
	cfg := DefaultConfig()
	cfg.PingEvery, cfg.SilentAfter, cfg.BreakAfter = 5*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond
	p := connect(t, cfg, addr, PoolDeps{})
	works := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := &caller{ch: make(chan outcome, 1)}
		if _, err := p.Read(ctx, "s", 5, []byte("x")); err != nil || p.Propose("s", 1, []byte("x"), c, 1) != nil {
			return false
		}
		return (<-c.ch).err == nil
	}
	eventually(t, "works", works)
	frozen.Swap(new(atomic.Bool)).Store(true)
	eventually(t, "down", func() bool { return !p.Up("s") })
	eventually(t, "works again", works)
}

func TestBrokenStreamAnswersEverything(t *testing.T) {
	b := &backend{held: make(chan func(fsm.Result, error), 100)}
	b.hold.Store(true)
	addr, s := serve(t, b, nil, nil)
	p := connect(t, calm(), addr, PoolDeps{})
	eventually(t, "up", func() bool { return p.Up("s") })
	c := &caller{ch: make(chan outcome, 10)}
	for i := range 10 {
		if err := p.Propose("s", 1, []byte("x"), c, uint64(i)); err != nil {
			t.Fatal(err)
		}
		<-b.held
	}
	s.Close()
	for range 10 {
		if o := <-c.ch; chat.CodeOf(o.err) != chat.Unavailable {
			t.Errorf("err = %v, want unavailable", o.err)
		}
	}
	eventually(t, "down", func() bool { return !p.Up("s") })
	if err := p.Propose("s", 1, []byte("x"), c, 1); err == nil {
		t.Error("a broken connection took a proposal")
	}
}

func TestWrongClusterAndWrongNode(t *testing.T) {
	addr, _ := serve(t, &backend{}, nil, nil)
	for _, id := range []Identity{identity("c", "other"), {Self: "c", Cluster: func() string { return "" }, Epoch: func() uint64 { return 0 }}} {
		p := connect(t, calm(), addr, PoolDeps{Identity: id})
		if _, err := p.Status(t.Context(), "s"); chat.CodeOf(err) != chat.WrongClust {
			t.Errorf("status: %v, want wrong_cluster", err)
		}
		if p.Up("s") {
			t.Error("a node of another cluster counts as up")
		}
	}
	p := connect(t, calm(), addr, PoolDeps{})
	p.SetMap(testMap("another", addr)) // the address was given to node s
	if _, err := p.Status(t.Context(), "another"); chat.CodeOf(err) != chat.NotFound {
		t.Errorf("status of a node that is elsewhere: %v", err)
	}
	if p.Up("another") {
		t.Error("a node at another's address counts as up")
	}
}

func TestControl(t *testing.T) {
	addr, _ := serve(t, &backend{}, nil, nil)
	p := connect(t, calm(), addr, PoolDeps{})
	st, err := p.Status(t.Context(), "s")
	want := shard.NodeStatus{Node: "s", Groups: []shard.GroupStatus{{Group: 1, Leads: true, Voters: []shard.NodeID{"s"}}}}
	if err != nil || !cmp.Equal(st, want) {
		t.Errorf("status: %v\n%s", err, cmp.Diff(want, st))
	}
	if m, err := p.Map(t.Context(), "s"); err != nil || m.Epoch != 3 {
		t.Errorf("map: %v, %v", m, err)
	}
	if err := p.Change(t.Context(), "s", shard.Change{Op: shard.Transfer}); err != nil {
		t.Error(err)
	}
	if err := p.Change(t.Context(), "s", shard.Change{Op: shard.Promote}); chat.CodeOf(err) != chat.NotLeader {
		t.Errorf("change elsewhere: %v", err)
	}
	node := shard.Node{ID: "n", Client: "x:1", Peer: "y:1"}
	if m, err := JoinAt(t.Context(), nil, addr, "", Join{Token: "secret", Node: node}); err != nil || m.Cluster != "test" {
		t.Errorf("join: %v, %v", m, err)
	}
	if _, err := JoinAt(t.Context(), nil, addr, "", Join{Token: "guess", Node: node}); chat.CodeOf(err) != chat.BadToken {
		t.Errorf("join with a wrong token: %v", err)
	}
	if _, err := JoinAt(t.Context(), nil, addr, "other", Join{Token: "secret", Node: node}); chat.CodeOf(err) != chat.WrongClust {
		t.Errorf("join of another cluster's node: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := JoinAt(ctx, nil, "127.0.0.1:1", "", Join{}); chat.CodeOf(err) != chat.Unavailable {
		t.Errorf("join at a closed port: %v", err)
	}
}

func TestPingsTellOfLeaders(t *testing.T) {
	addr, _ := serve(t, &backend{}, nil, nil)
	type news struct {
		node  shard.NodeID
		epoch uint64
		led   string
	}
	ch := make(chan news, 1000)
	connect(t, calm(), addr, PoolDeps{Heard: func(n shard.NodeID, epoch uint64, led []shard.GroupID) {
		select {
		case ch <- news{n, epoch, fmt.Sprint(led)}:
		default:
		}
	}})
	if got, want := <-ch, (news{"s", 3, "[1 7]"}); got != want {
		t.Errorf("heard %+v, want %+v", got, want)
	}
}

func TestSplit(t *testing.T) {
	server, client := certificates(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var conf *tls.Config
			rpcDial, raftDial := Dialer(nil), func(ctx context.Context, addr string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			}
			if secure {
				conf = server
				rpcDial, raftDial = TLSDialer(client, ALPN), TLSDialer(client, ALPNRaft)
			}
			rpc, raft := Split(l, DefaultConfig(), conf)
			s, err := NewServer(DefaultConfig(), ServerDeps{Identity: identity("s", "test"), Backend: &backend{}, Control: &backend{}})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { s.Serve(rpc) }) // ends with Close
			wg.Go(func() {
				c, err := raft.Accept()
				if err != nil {
					t.Errorf("accept: %v", err)
					return
				}
				defer c.Close() // the test is over
				b := make([]byte, 5)
				if _, err := io.ReadFull(c, b); err != nil || string(b) != "Raft!" {
					t.Errorf("read %q, %v", b, err)
				}
			})
			idle, err := net.Dial("tcp", l.Addr().String()) // says nothing; must not hold anything up
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close() // the test is over
			c, err := raftDial(t.Context(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("Raft!")); err != nil {
				t.Fatal(err)
			}
			p := connect(t, calm(), l.Addr().String(), PoolDeps{Dial: rpcDial})
			eventually(t, "up", func() bool { return p.Up("s") })
			s.Close()
			raft.Close() // closed once
			wg.Wait()
			c.Close() // the test is over
		})
	}
}

// certificates gives configurations for both ends of mutual TLS.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return &tls.Config{Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13},
		&tls.Config{Certificates: own, RootCAs: pool, MinVersion: tls.VersionTLS13}
}
