package node

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
)

// user calls a node's client port as ann.
type user struct {
	t     *testing.T
	base  string
	token string
}

func newUser(t *testing.T, n *Node, c Config) *user {
	t.Helper()
	scheme, err := auth.NewHS256([]byte(c.Auth.Secret), "")
	if err != nil {
		t.Fatal(err)
	}
	token, err := scheme.Mint(auth.Principal{User: "ann", Admin: true}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &user{t: t, base: n.Addresses().ClientURL(), token: token}
}

// do sends a request; headers are pairs.
func (u *user) do(method, path, body string, headers ...string) (*http.Response, string) {
	u.t.Helper()
	r, err := http.NewRequestWithContext(u.t.Context(), method, u.base+path, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+u.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	// A redirect is an answer, and no connection outlives its request.
	one := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	resp, err := one.Do(r)
	if err != nil {
		u.t.Errorf("%s %s: %v", method, path, err)
		return &http.Response{Header: http.Header{}}, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Errorf("%s %s: %v", method, path, err)
	}
	return resp, string(b)
}

// TestStopAnswersLongPolls stops a node while somebody waits at it.
func TestStopAnswersLongPolls(t *testing.T) {
	c := valid(t)
	c.Cluster.Groups, c.Cluster.Replicas = 1, 1
	n := start(t, c)
	ann := newUser(t, n, c)
	if resp, body := ann.do("POST", "/v1/conversations", `{"conv":"room","kind":"group"}`,
		"Idempotency-Key", "00000000-0000-4000-8000-000000000001"); resp.StatusCode != http.StatusCreated {
		t.Fatalf("create: %d %s", resp.StatusCode, body)
	}
	type answer struct {
		resp *http.Response
		body string
	}
	polled := make(chan answer)
	go func() {
		resp, body := ann.do("GET", "/v1/conversations/room/entries?after=1&wait=60s", "")
		polled <- answer{resp, body}
	}()
	for n.hub.Len() == 0 { // the poll follows the conversation before it waits
		select {
		case a := <-polled:
			t.Fatalf("the poll did not wait: %s", a.body)
		default:
			runtime.Gosched()
		}
	}
	if s, err := (&control{n}).Status(t.Context()); err != nil || s.Stopping || !s.Ready {
		t.Errorf("before the stop: %+v, %v", s, err)
	}
	stopped := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), c.StopAfter)
	defer cancel()
	go func() { stopped <- n.Stop(ctx) }()
	got := <-polled
	var p struct{ Code chat.Code }
	if err := json.Unmarshal([]byte(got.body), &p); err != nil || p.Code != chat.ShuttingDn ||
		got.resp.StatusCode != http.StatusServiceUnavailable || got.resp.Header.Get("Retry-After") == "" {
		t.Errorf("the poll was answered %d %v %q, want shutting_down", got.resp.StatusCode, got.resp.Header, got.body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	n.ready.Store(true) // by who waited for a quorum, and was late
	if s, err := (&control{n}).Status(t.Context()); err != nil || !s.Stopping || s.Ready {
		t.Errorf("after the stop: %+v, %v: want it stopping and not ready", s, err)
	}
}

// TestServingComesWithTheQuorum: a node that went on without one says when it is
// there.
func TestServingComesWithTheQuorum(t *testing.T) {
	c := valid(t)
	c.Cluster.Groups, c.Cluster.Replicas = 1, 1
	n := opened(t, c)
	n.background("readiness", n.awaitQuorum)
	select {
	case <-n.Serving():
		t.Fatal("it serves without a map")
	default:
	}
	if err := n.found(t.Context(), pending{Cluster: n.cluster(), Groups: 1, Token: strings.Repeat("t", JoinTokenMin)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its groups run", func() bool { return n.agent.look(t.Context()) })
	select {
	case <-n.Serving():
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is said of the quorum")
	}
	if !n.Ready() {
		t.Error("not ready")
	}
}
