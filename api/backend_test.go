package api

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/wire"
)

const testSecret = "a secret for tests only, of 32 bytes and more"

// log is a backend of one replica: the real machine on rows in memory.
type log struct {
	mu    sync.Mutex // guards all below
	log   fsmtest.Log
	rows  *fsmtest.Store
	late  *fsmtest.Store // what reads see that are not linearizable; nil for rows
	tails map[chat.ConvID]map[*tail]bool
	err   error // what the next calls answer, nil for the truth
	hold  bool  // proposals get no answer
	held  []func(fsm.Result, error)
}

func newLog() *log {
	rows := fsmtest.NewStore()
	return &log{rows: rows, log: fsmtest.Log{Machine: conv.New(1, nil), Store: rows}, tails: map[chat.ConvID]map[*tail]bool{}}
}

func (l *log) Propose(id chat.ConvID, b []byte, _ time.Time, done func(fsm.Result, error)) {
	cmd, err := fsm.Decode(b)
	if err != nil {
		done(fsm.Result{}, err)
		return
	}
	l.mu.Lock()
	if l.hold {
		l.held = append(l.held, done)
		l.mu.Unlock()
		return
	}
	if err = l.err; err != nil {
		l.mu.Unlock()
		done(fsm.Result{}, err)
		return
	}
	res, err := l.log.Apply(fsmtest.Epoch, cmd)
	var moved []func()
	for t := range l.tails[id] {
		moved = append(moved, t.moved)
	}
	l.mu.Unlock()
	if err != nil {
		done(fsm.Result{}, err)
		return
	}
	done(res[0], nil)
	for _, m := range moved {
		m()
	}
}

func (l *log) Page(_ context.Context, q conv.Query, f session.Freshness) (conv.Page, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return conv.Page{}, l.err
	}
	if l.late != nil && f.Level != wire.Linearizable {
		return conv.ReadPage(l.late, 1, q)
	}
	return conv.ReadPage(l.rows, 1, q)
}

func (l *log) Info(_ context.Context, id chat.ConvID, user chat.UserID, _ session.Freshness) (chat.Info, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return chat.Info{}, l.err
	}
	return conv.ReadInfo(l.rows, 1, id, user)
}

func (l *log) Proof(_ context.Context, q conv.ProofQuery, _ session.Freshness) (conv.Proof, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return conv.ReadProof(l.rows, 1, q)
}

// tail tells of new entries; what they are is read.
type tail struct {
	session.Tail // the api asks for nothing but what is here

	l     *log
	id    chat.ConvID
	moved func()
}

func (l *log) open(id chat.ConvID, moved func()) session.Tail {
	t := &tail{l: l, id: id, moved: moved}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tails[id] == nil {
		l.tails[id] = map[*tail]bool{}
	}
	l.tails[id][t] = true
	return t
}

func (t *tail) HeadFor(_, _ chat.Seq, _ chat.UserID) chat.Seq {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	head, err := conv.ReadHead(t.l.rows, 1, t.id)
	if err != nil {
		return 0
	}
	return head.Seq
}

func (t *tail) Close() {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	delete(t.l.tails[t.id], t)
}

// lag makes reads that are not linearizable stay as they are now.
func (l *log) lag() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = l.rows.Clone()
}

func (l *log) watchers(id chat.ConvID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tails[id])
}

func (l *log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// newServer makes a server over a log of its own.
func newServer(t *testing.T, edit func(*Config)) (*Server, *log, func(user string) string) {
	t.Helper()
	scheme, err := auth.NewHS256([]byte(testSecret), "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	if edit != nil {
		edit(&cfg)
	}
	l := newLog()
	s, err := New(cfg, Deps{
		Backend: l, Tails: l.open, Verifier: auth.NewVerifier(scheme, time.Now), Now: time.Now,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, l, func(user string) string {
		token, err := scheme.Mint(auth.Principal{User: chat.UserID(user)}, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}
