package api

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
)

// pollLimit is how long a poll that must not wait may take.
const pollLimit = 10 * time.Second

// poll asks for a minute's wait. One that takes it fails as canceled.
func (c *caller) poll(ctx context.Context, path string) answer {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, pollLimit)
	defer cancel()
	return c.doIn(ctx, "GET", path, "")
}

// polled waits until n polls of room wait.
func (l *log) polled(n int) {
	for l.watchers("room") < n {
		runtime.Gosched()
	}
}

func (a answer) empty(t *testing.T) answer {
	t.Helper()
	if list, ok := a.body["entries"].([]any); !ok || len(list) != 0 {
		t.Errorf("got %s, want an empty page", a.raw)
	}
	return a
}

func TestPollEndsWithItsToken(t *testing.T) {
	s, _, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")
	who, err := s.deps.Verifier.Verify(ann.token)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/v1/conversations/room/entries?after=1&wait=60s"
	s.deps.Now = func() time.Time { return who.Expires.Add(-time.Millisecond) }
	ann.poll(t.Context(), path).want(t, 200, "").empty(t)
	// A token that is taken though it has ended, since clocks differ, must not
	// make the next poll one that answers at once, again and again.
	s.deps.Now = func() time.Time { return who.Expires.Add(time.Millisecond) }
	begin := time.Now()
	ann.do("GET", "/v1/conversations/room/entries?after=1&wait=20ms", "").want(t, 200, "").empty(t)
	if took := time.Since(begin); took < 20*time.Millisecond {
		t.Errorf("the poll took %v, want the 20 ms that it asked for", took)
	}
}

func TestPollOfARemovedMember(t *testing.T) {
	s, l, token := newServer(t, nil)
	ann, bob := newCaller(t, s, token("ann")), newCaller(t, s, token("bob"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")
	answers := make(chan answer, 1)
	go func() { answers <- bob.poll(t.Context(), "/v1/conversations/room/entries?after=1&wait=60s") }()
	l.polled(1)
	ann.do("POST", "/v1/conversations/room/members", `{"changes":[{"user":"bob","role":"none"}]}`).want(t, 200, "")
	got := (<-answers).want(t, 200, "")
	if list, _ := got.body["entries"].([]any); len(list) != 1 || got.number(t, "head") != 2 {
		t.Fatalf("the poll answers %s, want the removal", got.raw)
	}
	bob.poll(t.Context(), "/v1/conversations/room/entries?after=2&wait=60s").want(t, 200, "").empty(t)
	// Added again, there is something to wait for.
	ann.do("POST", "/v1/conversations/room/members", `{"changes":[{"user":"bob","role":"writer"}]}`).want(t, 200, "")
	go func() { answers <- bob.poll(t.Context(), "/v1/conversations/room/entries?after=3&wait=60s") }()
	l.polled(1)
	ann.do("POST", "/v1/conversations/room/messages", `{"text":"x"}`).want(t, 201, "")
	got = (<-answers).want(t, 200, "")
	if list, _ := got.body["entries"].([]any); len(list) != 1 {
		t.Errorf("the poll of a member answers %s, want the message", got.raw)
	}
}

func TestPollsEndWhenTheNodeStops(t *testing.T) {
	s, l, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")
	const polls = 3
	answers := make(chan answer, polls)
	for range polls {
		go func() { answers <- ann.poll(t.Context(), "/v1/conversations/room/entries?after=1&wait=60s") }()
	}
	l.polled(polls)
	s.Drain(2 * time.Second)
	s.Drain(2 * time.Second) // a second time is no fault
	check := func(got answer) {
		t.Helper()
		got.want(t, 503, chat.ShuttingDn)
		if after := got.header.Get("Retry-After"); after != "1" && after != "2" {
			t.Errorf("Retry-After is %q, want a second or two", after)
		}
	}
	for range polls {
		check(<-answers)
	}
	check(ann.poll(t.Context(), "/v1/conversations/room/entries?after=1&wait=60s")) // one that comes too late
	// What needs no waiting is still answered.
	ann.do("GET", "/v1/conversations/room/entries?after=0&wait=60s", "").want(t, 200, "")
	ann.do("POST", "/v1/conversations/room/messages", `{"text":"x"}`).want(t, 201, "")
}

// The leader tells of an entry before its own state, and long before another replica,
// shows it to reads that do not wait. A poll of such a level gets it nevertheless.
func TestPollOfAReplicaThatLags(t *testing.T) {
	for _, level := range []string{"leader", "stale"} {
		for _, told := range []string{"while it waits", "before it came"} {
			t.Run(level+"/"+told, func(t *testing.T) {
				s, l, token := newServer(t, nil)
				ann := newCaller(t, s, token("ann"))
				ann.do("POST", "/v1/conversations", group).want(t, 201, "")
				l.lag()
				answers := make(chan answer, 1)
				poll := func() {
					answers <- ann.poll(t.Context(), "/v1/conversations/room/entries?after=1&wait=60s&consistency="+level)
				}
				if told == "while it waits" {
					go poll()
					l.polled(1)
				}
				ann.do("POST", "/v1/conversations/room/messages", `{"text":"x"}`).want(t, 201, "")
				if told == "before it came" {
					go poll()
				}
				got := (<-answers).want(t, 200, "")
				if list, _ := got.body["entries"].([]any); len(list) != 1 {
					t.Errorf("the poll answers %s, want the message", got.raw)
				}
			})
		}
	}
}
