package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// Session is one device's connection. Receive is called from one goroutine at a
// time, everything else from any.
type Session struct {
	cfg    *Config
	deps   *Deps
	tr     Transport
	id     string
	token  string          // came with the connection, for a hello without one
	ctx    context.Context // of the session's reads; ends with it
	cancel context.CancelFunc
	wg     sync.WaitGroup

	connection uint64 // number of the connection among those of the node, in their order

	req wire.Request // of Receive, used again

	mu     sync.Mutex // guards all that follows; a tail's lock may be taken under it
	room   sync.Cond  // the queue has become shorter, or the session has ended
	state  state
	who    auth.Principal
	device chat.DeviceID
	began  time.Time
	broken int
	second int64 // of the count of objects
	count  int

	out    queue
	awake  bool      // the transport was woken and has not found the queue empty since
	takes  uint64    // calls of Take
	seen   uint64    // takes at the last tick that saw progress
	seenAt time.Time // and its time

	pipes    map[chat.ConvID]*pipe
	inflight int
	failures []failure // in the order of their frames

	subs  map[chat.ConvID]*sub
	ready []*sub

	requests  int
	asked     lane          // history, info and proof
	stale     lane          // those of level stale
	first     lane          // first tries to read of subscriptions, and small work
	late      lane          // further tries
	stood     time.Duration // that reads stood still because the queue was full
	fullSince time.Time     // and since when they do now

	idle []Tail // to be closed without the lock
	end  *Ending
	said bool // the bye is queued
}

type state uint8

const (
	fresh  state = iota // before hello
	live                // logged in
	ending              // nothing is taken in; what is queued and a bye go out
	closed              // the transport is gone
)

// Ending says why a session ends.
type Ending struct {
	Code       chat.Code
	Message    string
	RetryAfter time.Duration
	At         time.Time
}

// New begins a session on a transport. token is what came with the connection,
// "" for none; now is the time; ctx bounds the session's life.
func New(ctx context.Context, cfg *Config, deps *Deps, tr Transport, token string, now time.Time) *Session {
	ctx, cancel := context.WithCancel(ctx)
	var id [8]byte
	rand.Read(id[:]) // never fails
	s := &Session{
		cfg: cfg, deps: deps, tr: tr, id: hex.EncodeToString(id[:]), token: token,
		ctx: ctx, cancel: cancel, began: now, seenAt: now, connection: deps.Registry.connections.Add(1),
	}
	s.out.limit = cfg.FrameBytes
	s.room.L = &s.mu
	return s
}

// ID is a random name of this session.
func (s *Session) ID() string { return s.id }

// Close ends the session because its transport is gone, and waits for what it
// has started.
func (s *Session) Close() {
	s.mu.Lock()
	was, key := s.state, deviceKey{s.who.User, s.device}
	s.state = closed
	tails := s.idle
	for _, b := range s.subs {
		b.gone = true
		if b.tail != nil {
			tails = append(tails, b.tail)
		}
	}
	s.subs, s.ready, s.idle, s.failures = nil, nil, nil, nil
	for _, l := range [...]*lane{&s.asked, &s.stale, &s.first, &s.late} {
		l.jobs = nil
	}
	s.room.Broadcast()
	s.mu.Unlock()
	if was == closed {
		return
	}
	s.cancel()
	for _, t := range tails {
		t.Close()
	}
	if key.device != "" {
		s.deps.Registry.leave(key, s)
	}
	s.wg.Wait()
}

// End lets the session finish: what waits goes out, then a bye, then
// [Session.Take] gives the ending.
func (s *Session) End(code chat.Code, msg string, retryAfter time.Duration, now time.Time) {
	s.mu.Lock()
	if s.state >= ending {
		s.mu.Unlock()
		return
	}
	s.state = ending
	s.end = &Ending{Code: code, Message: msg, RetryAfter: retryAfter, At: now}
	s.room.Broadcast()
	s.unlockAndWake()
}

// Ended gives why the session ends, nil while it does not.
func (s *Session) Ended() *Ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// Tick looks at the clock: a login that does not come, a token that has ended,
// a reader that stands still.
func (s *Session) Tick(now time.Time) {
	s.mu.Lock()
	code, msg := chat.OK, ""
	if !s.awake || s.takes != s.seen {
		s.seen, s.seenAt = s.takes, now
	}
	switch {
	case s.state == fresh && now.Sub(s.began) > s.cfg.HelloWait:
		code, msg = chat.Timeout, "no hello came"
	case s.state == live && !s.who.Holds(now):
		code, msg = chat.Unauthenticated, "the token has ended"
	case s.state == live && now.Sub(s.seenAt) > s.cfg.StallMax:
		code, msg = chat.SlowReader, "nothing was read for too long"
	}
	s.mu.Unlock()
	if code != chat.OK {
		s.End(code, msg, 0, now)
	}
}

// unlockAndWake releases the lock and wakes the transport when it sleeps.
func (s *Session) unlockAndWake() {
	wake := !s.awake && s.state != closed
	if wake {
		s.awake = true
	}
	s.mu.Unlock()
	if wake {
		s.tr.Wake()
	}
}

// Receive takes a text frame from the client, which belongs to the session from
// then on: nobody may write to it again. It blocks while the queue to the client
// is full, so that a client that does not read is not read from either.
func (s *Session) Receive(frame []byte, now time.Time) {
	text := unsafe.String(unsafe.SliceData(frame), len(frame)) // everything decoded shares it
	first := true
	for d := wire.NewDecoder(text); d.Next(); first = false {
		st, allowed := s.admit(now, first)
		if st >= ending {
			return
		}
		err := d.Request(&s.req)
		switch {
		case err == nil && !allowed:
			s.failSend(&s.req, tooFast())
		case err == nil:
			s.handle(&s.req, st, now)
		case d.Broken():
			s.Strike(err, now)
			return
		default:
			s.failSend(&s.req, err)
		}
	}
}

// admit waits for room in the queue and counts the objects of each second. first
// is set for the first object of a frame.
func (s *Session) admit(now time.Time, first bool) (st state, allowed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitRoom()
	if first && len(s.failures) > 0 {
		s.forgive()
	}
	if sec := now.Unix(); sec != s.second {
		s.second, s.count = sec, 0
	}
	s.count++
	return s.state, s.count <= s.cfg.ObjectsPerSecMax
}

func tooFast() error {
	e := chat.E("receive", chat.RateLimited, "too many requests", nil)
	e.RetryAfter = time.Second
	return e
}

// handle serves one request.
func (s *Session) handle(req *wire.Request, st state, now time.Time) {
	if st == fresh && req.Type != wire.Hello {
		s.End(chat.Unauthenticated, "the first frame is hello", 0, now)
		return
	}
	switch req.Type {
	case wire.Send:
		s.send(req, now)
	case wire.Hello:
		s.hello(req, st, now)
	case wire.Create:
		s.create(req, now)
	case wire.Members:
		s.members(req, now)
	case wire.Subscribe:
		s.subscribe(req)
	case wire.Unsubscribe:
		s.unsubscribe(req)
	case wire.Ping:
		s.reply(&wire.Reply{Type: wire.Pong, Ref: req.Ref, TimeMS: now.UnixMilli()})
	default:
		s.read(req)
	}
}

// Strike answers a frame that cannot be read, and ends the session after too
// many of them.
func (s *Session) Strike(err error, now time.Time) {
	s.refuse(0, err)
	s.mu.Lock()
	s.broken++
	out := s.broken >= s.cfg.BrokenMax
	s.mu.Unlock()
	if out {
		s.End(chat.Invalid, "too many frames that are not JSON", 0, now)
	}
}

// refuse answers ref with an error.
func (s *Session) refuse(ref uint64, err error) {
	s.mu.Lock()
	s.refuseLocked(ref, err)
	s.unlockAndWake()
}

func (s *Session) refuseLocked(ref uint64, err error) {
	code, msg, wait := wire.Explain(err)
	s.out.commit(wire.AppendError(s.out.begin(), ref, code, msg, uint64(wait.Milliseconds())))
}

func (s *Session) reply(r *wire.Reply) {
	s.mu.Lock()
	s.out.commit(wire.AppendReply(s.out.begin(), r))
	s.unlockAndWake()
}

// hello logs in.
func (s *Session) hello(req *wire.Request, st state, now time.Time) {
	if st != fresh {
		s.refuse(req.Ref, chat.E("hello", chat.Invalid, "hello comes once", nil))
		return
	}
	token := req.Token
	if token == "" {
		token, s.token = s.token, ""
	}
	who, err := s.deps.Verify(token)
	if err != nil {
		code, msg, _ := wire.Explain(err)
		s.refuse(req.Ref, err)
		s.End(code, msg, 0, now)
		return
	}
	device := who.Device
	switch {
	case device == "" && req.Device == "":
		device = chat.DeviceID("s-" + s.id)
	case device == "":
		device = chat.DeviceID(strings.Clone(string(req.Device)))
	case req.Device != "" && req.Device != device:
		s.refuse(req.Ref, chat.E("hello", chat.Forbidden, "the token is for another device", nil))
		s.End(chat.Forbidden, "the token is for another device", 0, now)
		return
	}
	s.mu.Lock()
	if s.state != fresh {
		s.mu.Unlock()
		return
	}
	s.state, s.who, s.device = live, who, device
	s.pipes, s.subs = make(map[chat.ConvID]*pipe), make(map[chat.ConvID]*sub)
	s.out.commit(wire.AppendReply(s.out.begin(), s.welcome(req.Ref, now)))
	s.unlockAndWake()
	if replaced := s.deps.Registry.enter(deviceKey{who.User, device}, s); replaced != nil {
		replaced.End(chat.Replaced, "a newer connection of this device took over", 0, now)
	}
}

func (s *Session) welcome(ref uint64, now time.Time) *wire.Reply {
	limits := wire.DefaultLimits()
	limits.Unacked, limits.Subscriptions = uint64(s.cfg.UnackedMax), uint64(s.cfg.SubscriptionsMax)
	return &wire.Reply{Type: wire.Welcome, Ref: ref, Hello: wire.WelcomeBody{
		User: s.who.User, Device: s.device, Session: s.id, Node: s.deps.Node, Version: wire.Version,
		TimeMS: now.UnixMilli(), ExpiresMS: s.who.Expires.UnixMilli(), Limits: limits,
	}}
}
