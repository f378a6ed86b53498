package api

import (
	"context"
	"testing"
	"time"
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
