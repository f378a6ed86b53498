package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second

func request() *raft.AppendEntriesRequest {
	m := &raft.AppendEntriesRequest{RPCHeader: header("n1"), Term: 7, PrevLogEntry: 41, PrevLogTerm: 6, LeaderCommitIndex: 40}
	for i := range 3 {
		m.Entries = append(m.Entries, &raft.Log{
			Index: 42 + uint64(i), Term: 7, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(i)}, 10*i),
			AppendedAt: time.Unix(0, 1_700_000_000_000_000_000+int64(i)),
		})
	}
	m.Entries[1].Extensions = []byte("ext")
	m.Entries[2].Type = raft.LogConfiguration
	m.Entries[2].Data = raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}})
	return m
}

func seal(k kind, payload []byte) []byte {
	b := append(openFrame(nil, k, 3, 9), payload...)
	sealFrame(b, 0)
	return b
}

func TestFrames(t *testing.T) {
	want := request()
	b := seal(kindAppend, encodeAppend(nil, want))
	fr := frameReader{r: bytes.NewReader(b)}
	f, err := fr.next()
	if err != nil {
		t.Fatal(err)
	}
	if f.kind != kindAppend || f.group != 3 || f.req != 9 {
		t.Errorf("header = %+v", f)
	}
	got, err := decodeAppend(f.payload, header("n1"))
	if err != nil {
		t.Fatal(err)
	}
	got.Entries[0].Data = nil // an empty slice for nothing
	want.Entries[0].Data = nil
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded request differs (-want +got):\n%s", d)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x40
		fr := frameReader{r: bytes.NewReader(bad)}
		if _, err := fr.next(); err == nil {
			t.Fatalf("a frame with byte %d changed was taken", i)
		}
	}
}

func TestTrim(t *testing.T) {
	m := &raft.AppendEntriesRequest{}
	for range 8 {
		m.Entries = append(m.Entries, &raft.Log{Data: make([]byte, AppendBytesMax/3)})
	}
	trim(m)
	if len(m.Entries) != 2 {
		t.Errorf("%d entries are left, want 2", len(m.Entries))
	}
	one := &raft.AppendEntriesRequest{Entries: []*raft.Log{{Data: make([]byte, 2*AppendBytesMax)}}}
	if trim(one); len(one.Entries) != 1 {
		t.Error("a single large entry was cut")
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(seal(kindAppend, encodeAppend(nil, request())))
	f.Add(seal(kindVote, ballot{1, 2, 3, true}.encode(nil)))
	f.Add(seal(kindAppendResp, encodeAppendResp(nil, &raft.AppendEntriesResponse{Term: 1, Success: true})))
	f.Add(seal(kindVerify, []byte{0, 0, 0, 0, 0, 0, 0, 1}))
	f.Add(seal(kindBeats, encodeBeats(nil, []beat{{group: 1, term: 2}, {group: 3, term: 4}})))
	f.Add(seal(kindBeatsResp, encodeAppendResp([]byte{0, 1}, &raft.AppendEntriesResponse{Term: 1})))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := frameReader{r: bytes.NewReader(b)}
		for {
			fm, err := fr.next()
			if err != nil {
				return
			}
			switch fm.kind {
			case kindAppend:
				if m, err := decodeAppend(fm.payload, header("n1")); err == nil {
					again, err := decodeAppend(encodeAppend(nil, m), header("n1"))
					if err != nil {
						t.Fatalf("its own encoding is refused: %v", err)
					}
					if d := cmp.Diff(m, again); d != "" {
						t.Fatalf("round trip differs:\n%s", d)
					}
				}
			case kindAppendResp:
				_ = decodeAppendResp(fm.payload, header("n1"), new(raft.AppendEntriesResponse))
			case kindVerify:
				_, _ = decodeTerm(fm.payload)
			case kindBeats:
				_ = decodeBeats(fm.payload, func(int, shard.GroupID, uint64) {})
			case kindBeatsResp:
				_ = decodeBeatsResp(fm.payload, func(_ int, b []byte) {
					if err := decodeAppendResp(b, header("n1"), new(raft.AppendEntriesResponse)); err != nil {
						t.Fatal(err)
					}
				})
			default:
				_, _ = decodeBallot(fm.payload)
			}
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(hello{purpose: 'm', boot: 1, cluster: "c", from: "a", to: "b"}.encode())
	f.Add(appendWelcome(chat.OK, 1, ""))
	f.Add(encodeSnapshotHead(1, &raft.InstallSnapshotRequest{SnapshotVersion: 1,
		Configuration: raft.EncodeConfiguration(raft.Configuration{})}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = readHello(bytes.NewReader(b))
		_, _ = readWelcome(bytes.NewReader(b))
		_, _, _ = readSnapshotHead(bytes.NewReader(b), "n1")
	})
}

func FuzzAppend(f *testing.F) {
	f.Add(encodeAppend(nil, request()))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeAppend(b, header("n1"))
		_, _, _ = decodeSnapshotHead(b, "n1")
	})
}

// end is one hub with one group that answers like a follower with an empty log.
type end struct {
	hub   *Hub
	group *Group
	addr  string
	term  uint64

	mu      sync.Mutex
	durable uint64
}

type ends struct {
	mu sync.Mutex
	at map[shard.NodeID]string
}

func (e *ends) address(id shard.NodeID) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.at[id]
}

func (e *end) setDurable(i uint64) {
	e.mu.Lock()
	e.durable = i
	e.mu.Unlock()
	e.group.Durable()
}

func open(t *testing.T, all *ends, id shard.NodeID, change func(*Config)) *end {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all.mu.Lock()
	all.at[id] = ln.Addr().String()
	all.mu.Unlock()
	cfg := Config{
		Cluster: "c", NodeID: id, Listener: ln, Address: all.address,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		},
	}
	if change != nil {
		change(&cfg)
	}
	h, err := NewHub(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := &end{hub: h, addr: ln.Addr().String(), term: 1}
	e.group, err = h.Group(1, Options{
		DurableIndex: func() uint64 {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.durable
		},
		CurrentTerm:   func() uint64 { return e.term },
		FastHeartbeat: func(uint64) bool { return false },
		Wanted:        func(shard.NodeID) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

// serve answers every request of the group until it is closed.
func (e *end) serve() {
	for {
		select {
		case <-e.group.ctx.Done():
			return
		case rpc := <-e.group.Consumer():
			switch rpc.Command.(type) {
			case *raft.AppendEntriesRequest:
				rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: true}, nil)
			case *raft.RequestVoteRequest:
				rpc.Respond(&raft.RequestVoteResponse{Term: 1, Granted: true}, nil)
			case *raft.RequestPreVoteRequest:
				rpc.Respond(&raft.RequestPreVoteResponse{Term: 1, Granted: true}, nil)
			default:
				rpc.Respond(nil, errors.New("not now"))
			}
		}
	}
}

func TestHoldsAtBothEnds(t *testing.T) {
	all := &ends{at: map[shard.NodeID]string{}}
	a, b := open(t, all, "a", nil), open(t, all, "b", nil)
	go b.serve()
	if err := a.group.await(must(a.hub.peer("b")), patience); err != nil {
		t.Fatal(err)
	}
	pl, err := a.group.AppendEntriesPipeline("b", "b")
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	m := request()
	m.Entries = m.Entries[:2] // 42 and 43
	if _, err := pl.AppendEntries(m, new(raft.AppendEntriesResponse)); err != nil {
		t.Fatal(err)
	}
	quiet := func(what string) {
		t.Helper()
		select {
		case <-pl.Consumer():
			t.Fatalf("acknowledged %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
	quiet("before anyone is durable")
	a.setDurable(43)
	quiet("before the follower is durable")
	b.setDurable(42)
	quiet("before the follower is durable up to the end")
	b.setDurable(43)
	select {
	case f := <-pl.Consumer():
		if !f.Response().Success {
			t.Error("no success")
		}
	case <-time.After(patience):
		t.Fatal("no acknowledgement")
	}
	if p := a.group.Progress("b"); p.Match != 43 {
		t.Errorf("match = %d, want 43", p.Match)
	}
}

func must(p *peer, err error) *peer {
	if err != nil {
		panic(err)
	}
	return p
}

// TestTruncatedIsNotAcknowledged: entries that were replaced while an answer
// waited for them are not acknowledged by the ones that replaced them.
func TestTruncatedIsNotAcknowledged(t *testing.T) {
	all := &ends{at: map[shard.NodeID]string{}}
	a, b := open(t, all, "a", nil), open(t, all, "b", nil)
	go b.serve()
	a.setDurable(100)
	got := make(chan error, 1)
	go func() {
		m := request()
		m.Entries = m.Entries[:2]
		got <- a.group.AppendEntries("b", "b", m, new(raft.AppendEntriesResponse))
	}()
	for end := time.Now().Add(patience); ; {
		b.group.mu.Lock()
		n := len(b.group.holds)
		b.group.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no answer is held")
		}
		<-time.After(time.Millisecond)
	}
	b.group.Truncated(42)
	b.setDurable(43)
	if err := <-got; err == nil {
		t.Error("acknowledged what was truncated")
	}
}

func TestFailedFuturesStayOut(t *testing.T) {
	all := &ends{at: map[shard.NodeID]string{}}
	a, b := open(t, all, "a", nil), open(t, all, "b", nil)
	if err := a.group.await(must(a.hub.peer("b")), patience); err != nil {
		t.Fatal(err)
	}
	pl, err := a.group.AppendEntriesPipeline("b", "b")
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	if _, err := pl.AppendEntries(request(), new(raft.AppendEntriesResponse)); err != nil {
		t.Fatal(err)
	}
	_ = b.hub.Close()
	for end := time.Now().Add(patience); ; {
		if _, err := pl.AppendEntries(request(), new(raft.AppendEntriesResponse)); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the pipeline goes on without a connection")
		}
		<-time.After(time.Millisecond)
	}
	select {
	case f := <-pl.Consumer():
		t.Errorf("a failed future came out: %+v", f.Response())
	default:
	}
}

func TestVotesAndVerify(t *testing.T) {
	all := &ends{at: map[shard.NodeID]string{}}
	a, b := open(t, all, "a", nil), open(t, all, "b", nil)
	go b.serve()
	var vote raft.RequestVoteResponse
	if err := a.group.RequestVote("b", "b", &raft.RequestVoteRequest{Term: 1}, &vote); err != nil || !vote.Granted {
		t.Errorf("vote = %+v, %v", vote, err)
	}
	var pre raft.RequestPreVoteResponse
	if err := a.group.RequestPreVote("b", "b", &raft.RequestPreVoteRequest{Term: 1}, &pre); err != nil || !pre.Granted {
		t.Errorf("pre-vote = %+v, %v", pre, err)
	}
	if err := a.group.TimeoutNow("b", "b", nil, new(raft.TimeoutNowResponse)); err == nil {
		t.Error("a refusal did not arrive")
	}
	for term, want := range map[uint64]bool{0: false, 1: true, 2: true} {
		ch := make(chan bool, 1)
		a.group.Verify("b", term, func(ok bool) { ch <- ok })
		if got := <-ch; got != want {
			t.Errorf("verify of term %d at a peer in term 1 = %v", term, got)
		}
	}
}

func TestWrongClusterIsRefused(t *testing.T) {
	all := &ends{at: map[shard.NodeID]string{}}
	a := open(t, all, "a", func(c *Config) { c.Cluster = "other" })
	b := open(t, all, "b", nil)
	for name, tt := range map[string]struct {
		to   shard.NodeID
		want chat.Code
	}{"wrong cluster": {"b", chat.WrongClust}} {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.hub.greet(t.Context(), conn, tt.to, purposeMessages); chat.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		_ = conn.Close()
	}
	conn, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := open(t, all, "c", func(c *Config) { c.Cluster = "other" })
	if _, err := c.hub.greet(t.Context(), conn, "x", purposeMessages); chat.CodeOf(err) != chat.Invalid {
		t.Errorf("wrong node: %v, want %s", err, chat.Invalid)
	}
}

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure makes a hub speak mutual TLS with a certificate, trusting roots.
func secure(cert tls.Certificate, roots *x509.CertPool) func(*Config) {
	return func(c *Config) {
		c.Listener = tls.NewListener(c.Listener, &tls.Config{Certificates: []tls.Certificate{cert},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots})
		plain := c.Dial
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := plain(ctx, addr)
			if err != nil {
				return nil, err
			}
			t := tls.Client(conn, &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots,
				InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error { // the name is checked by VerifyPeer
					_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots})
					return err
				}})
			if err := t.HandshakeContext(ctx); err != nil {
				_ = conn.Close()
				return nil, err
			}
			return t, nil
		}
		c.VerifyPeer = func(id shard.NodeID, conn net.Conn) error {
			t, ok := conn.(*tls.Conn)
			if !ok {
				return errors.New("not encrypted")
			}
			if err := t.Handshake(); err != nil {
				return err
			}
			return t.ConnectionState().PeerCertificates[0].VerifyHostname(string(id))
		}
	}
}

func TestMutualTLS(t *testing.T) {
	good, bad := newAuthority(t), newAuthority(t)
	tests := []struct {
		name   string
		client func(*Config)
		want   bool
	}{
		{"both are known", secure(good.issue(t, "a"), good.pool), true},
		{"plain", nil, false},
		{"wrong authority", secure(bad.issue(t, "a"), good.pool), false},
		{"wrong name", secure(good.issue(t, "z"), good.pool), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := &ends{at: map[shard.NodeID]string{}}
			b := open(t, all, "b", secure(good.issue(t, "b"), good.pool))
			go b.serve()
			a := open(t, all, "a", tt.client)
			var vote raft.RequestVoteResponse
			err := a.group.RequestVote("b", "b", &raft.RequestVoteRequest{Term: 1}, &vote)
			if got := err == nil && vote.Granted; got != tt.want {
				t.Errorf("a vote came through: %v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

func TestDeadPeerIsTold(t *testing.T) {
	all := &ends{at: map[shard.NodeID]string{}}
	dead := make(chan shard.NodeID, 8)
	a := open(t, all, "a", func(c *Config) { c.OnDead = func(id shard.NodeID) { dead <- id } })
	b := open(t, all, "b", nil)
	go b.serve()
	var vote raft.RequestVoteResponse
	if err := a.group.RequestVote("b", "b", &raft.RequestVoteRequest{Term: 1}, &vote); err != nil {
		t.Fatal(err)
	}
	_ = b.hub.Close()
	select {
	case id := <-dead:
		if id != "b" {
			t.Errorf("told of %s", id)
		}
	case <-time.After(patience):
		t.Fatal("nobody was told")
	}
}

func BenchmarkAppendCodec(b *testing.B) {
	m := &raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1, Term: 1, Data: make([]byte, 64<<10), AppendedAt: time.Now()}}}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = openFrame(buf[:0], kindAppend, 1, 1)
		buf = encodeAppend(buf, m)
		sealFrame(buf, 0)
		if _, err := decodeAppend(buf[frameHeader:], header("n1")); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

// timeless is a connection whose deadlines never come.
type timeless struct{ net.Conn }

func (timeless) SetDeadline(time.Time) error { return nil }

// TestCloseDoesNotWaitForAGreeting closes a hub whose peer takes a connection and
// says nothing, as a paused process does.
func TestCloseDoesNotWaitForAGreeting(t *testing.T) {
	all := &ends{at: make(map[shard.NodeID]string)}
	a := open(t, all, "a", func(c *Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := dial(ctx, addr)
			return timeless{conn}, err
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // the test is over
	all.mu.Lock()
	all.at["b"] = ln.Addr().String()
	all.mu.Unlock()
	a.hub.Want("b")
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() // as above
	if m, err := readHello(conn); err != nil || m.from != "a" {
		t.Fatalf("greeting %+v, %v", m, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- a.hub.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the hub waits for a peer that is silent")
	}
}

// TestEntriesWaitForTheReplica: entries for a replica that does not run yet, at
// a node that cannot be reached at first, get there without a failure, with what
// the log has gained meanwhile; and the end of the group ends the wait.
func TestEntriesWaitForTheReplica(t *testing.T) {
	all := &ends{at: map[shard.NodeID]string{}}
	a := open(t, all, "a", nil)
	a.setDurable(100)
	a.group.opts.Wanted = func(shard.NodeID) bool { return true }
	a.group.opts.Leading = func(term uint64) uint64 {
		if term != 7 {
			return 0
		}
		return 50
	}
	a.group.opts.Entry = func(i uint64, l *raft.Log) error {
		*l = raft.Log{Index: i, Term: 7}
		return nil
	}
	m := request() // 42 to 44 of term 7
	resp := new(raft.AppendEntriesResponse)
	done := make(chan error, 1)
	go func() { done <- a.group.AppendEntries("b", "b", m, resp) }()
	b := open(t, all, "b", nil)
	b.setDurable(100)
	opts := b.group.opts
	if err := b.group.Close(); err != nil { // refuses at once: "no such group"
		t.Fatal(err)
	}
	if err := a.group.await(must(a.hub.peer("b")), patience); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.group, err = b.hub.Group(1, opts); err != nil {
		t.Fatal(err)
	}
	go b.serve()
	if err := <-done; err != nil || !resp.Success {
		t.Fatalf("entries: %v, %+v", err, resp)
	}
	if p := a.group.Progress("b"); p.Match != 50 || lastIndex(m) != 50 {
		t.Errorf("match = %d, sent up to %d, want 50", p.Match, lastIndex(m))
	}
	stale := request()
	stale.Term = 6
	if err := b.group.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.group.AppendEntries("b", "b", stale, resp); err == nil {
		t.Error("entries of a term that is over do not fail")
	}
	go func() { done <- a.group.AppendEntries("b", "b", request(), resp) }()
	if err := a.group.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("no failure after the end")
	}
}

// TestWidenStaysInItsTerm: when the lead was lost while entries were read, none
// of them is sent.
func TestWidenStaysInItsTerm(t *testing.T) {
	last := uint64(60)
	g := &Group{opts: Options{
		Leading: func(uint64) uint64 { return last },
		Entry: func(i uint64, l *raft.Log) error {
			if i == 50 {
				last = 0
			}
			*l = raft.Log{Index: i, Term: 7}
			return nil
		},
	}}
	m := request()
	if g.widen(m); len(m.Entries) != 3 {
		t.Errorf("%d entries, want the 3 of the request", len(m.Entries))
	}
}

// TestHeartbeatsShareAFrame sends those of three groups and of one that the
// other node does not have at one tick.
func TestHeartbeatsShareAFrame(t *testing.T) {
	all := &ends{at: make(map[shard.NodeID]string)}
	a := open(t, all, "a", func(c *Config) { c.BeatEvery = time.Hour })
	b := open(t, all, "b", nil)
	go b.serve() // group 1: its Raft answers
	sends := []*Group{a.group}
	for id := shard.GroupID(2); id <= 4; id++ {
		g, err := a.hub.Group(id, Options{})
		if err != nil {
			t.Fatal(err)
		}
		sends = append(sends, g)
		if id == 4 {
			continue
		}
		to, err := b.hub.Group(id, Options{FastHeartbeat: func(term uint64) bool { return term == 7 }})
		if err != nil {
			t.Fatal(err)
		}
		to.SetHeartbeatHandler(func(rpc raft.RPC) {
			rpc.Respond(&raft.AppendEntriesResponse{Term: 7, LastLog: uint64(id), Success: true}, nil)
		})
	}
	if err := a.group.await(must(a.hub.peer("b")), patience); err != nil {
		t.Fatal(err)
	}
	before := a.hub.Stats().FramesSent
	errs := make([]error, len(sends))
	resps := make([]raft.AppendEntriesResponse, len(sends))
	var wg sync.WaitGroup
	for i, g := range sends {
		wg.Go(func() {
			errs[i] = g.AppendEntries("b", "b", &raft.AppendEntriesRequest{Term: 7}, &resps[i])
		})
	}
	p := must(a.hub.peer("b"))
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); ; <-look.C {
		p.mu.Lock()
		n := len(p.beats)
		p.mu.Unlock()
		if n == len(sends) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d heartbeats wait, want %d", n, len(sends))
		}
	}
	a.hub.tick.fire()
	wg.Wait()
	if n := a.hub.Stats().FramesSent - before; n != 1 {
		t.Errorf("%d frames were sent, want 1", n)
	}
	for i, last := range []uint64{0, 2, 3} {
		if errs[i] != nil || !resps[i].Success || resps[i].LastLog != last {
			t.Errorf("group %d answers %+v, %v", i+1, resps[i], errs[i])
		}
	}
	if errs[3] == nil {
		t.Error("a heartbeat of a group that does not run was answered")
	}
}
