package sessiontest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/wire"
)

// Wait bounds every wait of a test; it is long because a machine may be busy.
const Wait = 60 * time.Second

// Verify takes "user" or "user/device" for a token.
func Verify(token string) (auth.Principal, error) {
	if !chat.ValidUserID(token) {
		return auth.Principal{}, chat.E("authenticate", chat.Unauthenticated, "", nil)
	}
	return auth.Principal{User: chat.UserID(token), Expires: time.Now().Add(time.Hour)}, nil
}

// Deps are a session's dependencies on the cluster.
func (c *Cluster) Deps() *session.Deps {
	return &session.Deps{Backend: c, Tails: c.Tails, Verify: Verify, Registry: session.NewRegistry(), Node: "n1"}
}

// Device is a session with a transport that a test turns by hand.
type Device struct {
	T testing.TB
	S *session.Session

	mu    sync.Mutex // guards what follows
	cond  *sync.Cond
	awake bool
	stuck bool
	got   []wire.Reply
	end   *session.Ending
	gone  bool
	done  chan struct{}
}

// Connect makes a session; its frames are taken by a goroutine unless Stall is
// called.
func Connect(tb testing.TB, cfg *session.Config, deps *session.Deps) *Device {
	tb.Helper()
	d := &Device{T: tb, done: make(chan struct{})}
	d.cond = sync.NewCond(&d.mu)
	d.S = session.New(tb.Context(), cfg, deps, d, "", time.Now())
	go d.pump()
	tb.Cleanup(d.Close)
	return d
}

// Login is Connect and a hello.
func Login(tb testing.TB, cfg *session.Config, deps *session.Deps, user, device string) *Device {
	tb.Helper()
	d := Connect(tb, cfg, deps)
	d.Send(fmt.Sprintf(`{"type":"hello","ref":9000000,"token":%q,"device":%q}`, user, device))
	d.Find("welcome", func(r *wire.Reply) bool { return r.Type == wire.Welcome })
	return d
}

// Close breaks the connection off.
func (d *Device) Close() {
	d.mu.Lock()
	was := d.gone
	d.gone = true
	d.cond.Broadcast()
	d.mu.Unlock()
	if was {
		return
	}
	<-d.done
	d.S.Close()
}

// Wake implements [session.Transport].
func (d *Device) Wake() {
	d.mu.Lock()
	d.awake = true
	d.cond.Broadcast()
	d.mu.Unlock()
}

// Stall stops taking frames, or goes on.
func (d *Device) Stall(stuck bool) {
	d.mu.Lock()
	d.stuck = stuck
	d.cond.Broadcast()
	d.mu.Unlock()
}

func (d *Device) pump() {
	defer close(d.done)
	for {
		d.mu.Lock()
		for (!d.awake || d.stuck) && !d.gone {
			d.cond.Wait()
		}
		if d.gone {
			d.mu.Unlock()
			return
		}
		d.awake = false
		d.mu.Unlock()
		for d.take() {
		}
	}
}

func (d *Device) take() bool {
	d.mu.Lock()
	if d.stuck || d.gone {
		d.awake = true
		d.mu.Unlock()
		return false
	}
	d.mu.Unlock()
	frame, end := d.S.Take(nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.cond.Broadcast()
	if frame == nil {
		if end != nil {
			d.end = end
		}
		return false
	}
	for dec := wire.NewDecoder(string(frame)); dec.Next(); {
		var r wire.Reply
		if err := dec.Reply(&r); err != nil {
			d.T.Errorf("the session wrote %q: %v", frame, err)
			return true
		}
		d.got = append(d.got, r)
	}
	return true
}

// Send gives a frame to the session.
func (d *Device) Send(frame string) { d.S.Receive([]byte(frame), time.Now()) }

// Await waits until ok holds for all that has come.
func (d *Device) Await(what string, ok func(got []wire.Reply) bool) {
	d.T.Helper()
	timer := time.AfterFunc(Wait, d.cond.Broadcast)
	defer timer.Stop()
	deadline := time.Now().Add(Wait)
	d.mu.Lock()
	defer d.mu.Unlock()
	for !ok(d.got) {
		if !time.Now().Before(deadline) {
			d.T.Fatalf("%s did not come; %d frames: %+v", what, len(d.got), d.got)
		}
		d.cond.Wait()
	}
}

// Find waits for the first reply that is wanted.
func (d *Device) Find(what string, want func(*wire.Reply) bool) wire.Reply {
	d.T.Helper()
	var found wire.Reply
	d.Await(what, func(got []wire.Reply) bool {
		for i := range got {
			if want(&got[i]) {
				found = got[i]
				return true
			}
		}
		return false
	})
	return found
}

// Answer waits for the answer to ref.
func (d *Device) Answer(ref uint64) wire.Reply {
	d.T.Helper()
	return d.Find(fmt.Sprintf("the answer to %d", ref), func(r *wire.Reply) bool { return r.Ref == ref })
}

// Ending waits for the end.
func (d *Device) Ending() session.Ending {
	d.T.Helper()
	d.Await("the end", func([]wire.Reply) bool { return d.end != nil })
	return *d.end
}

// Seqs gives the seqs of the entries that were pushed for conv so far.
func Seqs(got []wire.Reply, conv chat.ConvID) []chat.Seq {
	var seqs []chat.Seq
	for i := range got {
		if got[i].Type == wire.Entries && got[i].Conv == conv {
			for _, e := range got[i].Entries {
				seqs = append(seqs, e.Seq)
			}
		}
	}
	return seqs
}

// Got is a copy of what has come.
func (d *Device) Got() []wire.Reply {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]wire.Reply(nil), d.got...)
}
