package session_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/session/sessiontest"
	"github.com/chatnode/chatnode/wire"
)

// leaderless is a cluster in which the conversations whose ids begin with "dead"
// are of groups without a leader: only stale reads of them come back.
type leaderless struct{ *sessiontest.Cluster }

func (b leaderless) Page(ctx context.Context, q conv.Query, f session.Freshness) (conv.Page, error) {
	if strings.HasPrefix(string(q.Conv), "dead") && f.Level != wire.Stale {
		<-ctx.Done()
		return conv.Page{}, chat.E("history", chat.Timeout, "no answer in time", ctx.Err())
	}
	return b.Cluster.Page(ctx, q, f)
}

// gated is a cluster whose reads begin when the gate is closed.
type gated struct {
	*sessiontest.Cluster
	gate chan struct{}
}

func (b gated) Page(ctx context.Context, q conv.Query, f session.Freshness) (conv.Page, error) {
	<-b.gate
	return b.Cluster.Page(ctx, q, f)
}

func dying(t *testing.T) *session.Deps {
	t.Helper()
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	c.Room(t, "dead", "bob")
	deps := c.Deps()
	deps.Backend = leaderless{c}
	return deps
}

func frames(format string, refs ...int) string {
	var all []string
	for _, ref := range refs {
		all = append(all, fmt.Sprintf(format, ref))
	}
	return "[" + strings.Join(all, ",") + "]"
}

func numbers(first, n int) []int {
	var all []int
	for i := range n {
		all = append(all, first+i)
	}
	return all
}

// unanswered fails if one of the refs has an answer.
func unanswered(t *testing.T, d *sessiontest.Device, refs []int) {
	t.Helper()
	for _, r := range d.Got() {
		for _, ref := range refs {
			if r.Ref == uint64(ref) {
				t.Fatalf("%d has an answer: %+v", ref, r)
			}
		}
	}
}

// TestReadsThatWaitHoldNobodyUp: requests to a group without a leader leave the
// others of the connection alone, whatever these are.
func TestReadsThatWaitHoldNobodyUp(t *testing.T) {
	deps := dying(t)
	cfg := config()
	cfg.ReadWait = 10 * time.Minute
	d := sessiontest.Login(t, cfg, deps, "bob", "d")
	waiting := numbers(100, 58)
	d.Send(frames(`{"type":"history","ref":%d,"conv":"dead"}`, waiting...))
	d.Send(`[{"type":"history","ref":1,"conv":"r"},{"type":"history","ref":2,"conv":"dead","level":"stale"},{"type":"info","ref":3,"conv":"r"},` +
		`{"type":"proof","ref":4,"conv":"r","seq":1},{"type":"subscribe","ref":5,"conv":"r","from":1}]`)
	for ref, want := range map[uint64]wire.Type{1: wire.Page, 2: wire.Page, 3: wire.Info, 4: wire.Proof, 5: wire.Subscribed} {
		if r := d.Answer(ref); r.Type != want {
			t.Errorf("answer to %d = %+v, want a %s", ref, r, want)
		}
	}
	unanswered(t, d, waiting)
	d.Send(frames(`{"type":"history","ref":%d,"conv":"dead"}`, numbers(200, 7)...))
	if r := d.Answer(206); r.Code != chat.Busy {
		t.Errorf("one more than may wait got %+v, want busy", r)
	}
}

// TestReconnectWithoutSomeLeaders: of the many subscriptions of a client that
// comes back, those of groups without a leader do not hold up the others.
func TestReconnectWithoutSomeLeaders(t *testing.T) {
	c := sessiontest.New(t)
	deps := c.Deps()
	deps.Backend = leaderless{c}
	cfg := config()
	cfg.ReadWait = 10 * time.Minute
	var all []string
	var good, bad []int
	for i := range 320 {
		ref, name := 1+i, chat.ConvID(fmt.Sprint("r", i))
		if i%4 == 0 {
			bad, name = append(bad, ref), chat.ConvID(fmt.Sprint("dead", i))
		} else {
			good = append(good, ref)
		}
		c.Room(t, name, "bob")
		all = append(all, fmt.Sprintf(`{"type":"subscribe","ref":%d,"conv":%q,"from":1}`, ref, name))
	}
	d := sessiontest.Login(t, cfg, deps, "bob", "d")
	d.Send("[" + strings.Join(all, ",") + "]")
	for _, ref := range good {
		if r := d.Answer(uint64(ref)); r.Type != wire.Subscribed {
			t.Fatalf("subscription %d got %+v", ref, r)
		}
	}
	unanswered(t, d, bad)
}

// TestTimeOfReadsCountsFromArrival: however many wait, none waits longer than
// one read may.
func TestTimeOfReadsCountsFromArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deps := dying(t)
		d := sessiontest.Login(t, config(), deps, "bob", "d")
		began := time.Now()
		d.Send(frames(`{"type":"history","ref":%d,"conv":"dead"}`, numbers(100, 64)...))
		d.Send(`{"type":"subscribe","ref":1,"conv":"dead"}`)
		for _, ref := range append(numbers(100, 64), 1) {
			if r := d.Answer(uint64(ref)); r.Code != chat.Timeout {
				t.Errorf("answer to %d = %+v, want timeout", ref, r)
			}
		}
		if took := time.Since(began); took > config().ReadWait {
			t.Errorf("the last answer came after %v, want %v", took, config().ReadWait)
		}
		d.Close()
	})
}

// TestTimeOfReadsStandsStillWithTheClient: a client that is slow to take what it
// asked for gets it nevertheless.
func TestTimeOfReadsStandsStillWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sessiontest.New(t)
		c.Room(t, "r", "bob")
		c.Room(t, "s", "bob")
		cfg := config()
		cfg.QueueBytesMax, cfg.ReadersMax = 1<<10, 1
		deps, gate := c.Deps(), make(chan struct{})
		deps.Backend = gated{c, gate}
		d := sessiontest.Login(t, cfg, deps, "bob", "d")
		d.Stall(true)
		c.Say(t, "r", 1, strings.Repeat("x", 2<<10))
		d.Send(`[{"type":"history","ref":1,"conv":"r"},{"type":"history","ref":2,"conv":"r"},` +
			`{"type":"subscribe","ref":3,"conv":"r","from":1},{"type":"subscribe","ref":4,"conv":"s","from":1}]`)
		close(gate)
		synctest.Wait() // until the queue is full and the rest waits for room
		<-time.After(2 * cfg.ReadWait)
		d.Stall(false)
		for ref, want := range map[uint64]wire.Type{1: wire.Page, 2: wire.Page, 3: wire.Subscribed, 4: wire.Subscribed} {
			if r := d.Answer(ref); r.Type != want {
				t.Errorf("answer to %d = %+v, want a %s", ref, r, want)
			}
		}
		d.Close()
	})
}
