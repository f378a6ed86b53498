package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller sends requests as one user and holds each exchange against the
// OpenAPI document.
type caller struct {
	t      *testing.T
	s      *Server
	token  string
	router routers.Router
}

func newCaller(t *testing.T, s *Server, token string) *caller {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("the OpenAPI document: %v", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &caller{t: t, s: s, token: token, router: router}
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (a answer) code() string { s, _ := a.body["code"].(string); return s }

var ids atomic.Uint64

// key is a fresh UUID of the version that tells no age.
func key() string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", ids.Add(1)) }

// do sends a request. Headers are pairs; a body gets a fresh Idempotency-Key
// unless one is given.
func (c *caller) do(method, path, body string, headers ...string) answer {
	c.t.Helper()
	return c.doIn(c.t.Context(), method, path, body, headers...)
}

// doIn is do until ctx ends.
func (c *caller) doIn(ctx context.Context, method, path, body string, headers ...string) answer {
	c.t.Helper()
	r := httptest.NewRequestWithContext(ctx, method, "http://node"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+c.token)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key())
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	c.s.ServeHTTP(w, r)
	res := w.Result()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: string(b)}
	if err := json.Unmarshal(b, &a.body); err != nil {
		c.t.Fatalf("%s %s: %q is no JSON object: %v", method, path, b, err)
	}
	c.conform(r, body, res, b)
	return a
}

// conform holds an exchange on a known path against the document: every
// success must have been a request that the document allows, and every answer
// one that it describes.
func (c *caller) conform(r *http.Request, body string, res *http.Response, got []byte) {
	c.t.Helper()
	if res.Header.Get("X-Request-Id") == "" {
		c.t.Errorf("%s %s: no X-Request-Id", r.Method, r.URL)
	}
	if res.StatusCode >= 400 && res.Header.Get("Content-Type") != wire.ProblemContentType {
		c.t.Errorf("%s %s: %d with %s, want a problem", r.Method, r.URL, res.StatusCode, res.Header.Get("Content-Type"))
	}
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed {
			c.t.Errorf("%s %s is not in the OpenAPI document and answers %d", r.Method, r.URL, res.StatusCode)
		}
		return
	}
	for name, written := range params { // the router leaves them as they were written
		if params[name], err = url.PathUnescape(written); err != nil {
			c.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
	}
	r.Body = io.NopCloser(strings.NewReader(body))
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true},
	}
	if res.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(c.t.Context(), in); err != nil {
			c.t.Errorf("%s %s was served, but the document refuses it: %v", r.Method, r.URL, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Options: in.Options,
		Body: io.NopCloser(bytes.NewReader(got)),
	}
	if err := openapi3filter.ValidateResponse(c.t.Context(), out); err != nil {
		c.t.Errorf("%s %s answers %d with what the document does not describe: %v\n%s", r.Method, r.URL, res.StatusCode, err, got)
	}
}

// want checks the status and, for a problem, the code.
func (a answer) want(t *testing.T, status int, code chat.Code) answer {
	t.Helper()
	if a.status != status || a.code() != string(code) {
		t.Errorf("got %d %q, want %d %q: %s", a.status, a.code(), status, code, a.raw)
	}
	return a
}

func (a answer) number(t *testing.T, name string) int {
	t.Helper()
	n, ok := a.body[name].(float64)
	if !ok {
		t.Errorf("%q is no number in %s", name, a.raw)
	}
	return int(n)
}

const group = `{"conv":"room","kind":"group","title":"Room","members":[{"user":"bob","role":"writer"},{"user":"ray","role":"reader"}]}`

func TestConversation(t *testing.T) {
	s, _, token := newServer(t, nil)
	ann, bob, eve := newCaller(t, s, token("ann")), newCaller(t, s, token("bob")), newCaller(t, s, token("eve"))

	first := key()
	ann.do("POST", "/v1/conversations", group, "Idempotency-Key", first).want(t, 201, "")
	ann.do("POST", "/v1/conversations", group, "Idempotency-Key", first).want(t, 200, "")

	id := key()
	sent := bob.do("POST", "/v1/conversations/room/messages", `{"text":"שלום 😀"}`, "Idempotency-Key", id).want(t, 201, "")
	again := bob.do("POST", "/v1/conversations/room/messages", `{"text":"שלום 😀"}`, "Idempotency-Key", id).want(t, 200, "")
	if sent.number(t, "seq") != 2 || again.number(t, "seq") != 2 || again.body["root"] != sent.body["root"] || again.body["dup"] != true {
		t.Errorf("sent %s, again %s: want one entry", sent.raw, again.raw)
	}
	bob.do("POST", "/v1/conversations/room/messages", `{"text":"other"}`, "Idempotency-Key", id).want(t, 409, chat.Conflict)
	bob.do("POST", "/v1/conversations/room/messages", `{"text":"next","after":"`+id+`"}`).want(t, 201, "")
	bob.do("POST", "/v1/conversations/room/messages", `{"text":"lost","after":"`+key()+`"}`).want(t, 409, chat.PredecessorAbsent)

	page := ann.do("GET", "/v1/conversations/room/entries?after=1", "").want(t, 200, "")
	list, _ := page.body["entries"].([]any)
	if len(list) != 2 || page.number(t, "head") != 3 {
		t.Fatalf("page = %s, want entries 2 and 3 of 3", page.raw)
	}
	if e, _ := list[0].(map[string]any); e["text"] != "שלום 😀" || e["sender"] != "bob" || e["device"] != "http" {
		t.Errorf("entry = %v", list[0])
	}
	ann.do("GET", "/v1/conversations/room/entries?before=3&limit=1", "").want(t, 200, "")
	ann.do("GET", "/v1/conversations/room/entries?around=2&limit=3&consistency=stale&min_seq=2", "").want(t, 200, "")

	info := ann.do("GET", "/v1/conversations/room", "").want(t, 200, "")
	if info.body["role"] != "owner" || info.number(t, "head") != 3 || info.number(t, "member_count") != 3 {
		t.Errorf("info = %s", info.raw)
	}
	proof := ann.do("GET", "/v1/conversations/room/proof?seq=2", "").want(t, 200, "")
	if proof.body["root"] != info.body["root"] {
		t.Errorf("proof's root %v, want %v", proof.body["root"], info.body["root"])
	}
	ann.do("GET", "/v1/conversations/room/proof?from_size=2&size=3", "").want(t, 200, "")

	ann.do("POST", "/v1/conversations/room/members", `{"changes":[{"user":"eve","role":"writer"}]}`).want(t, 200, "")
	eve.do("POST", "/v1/conversations/room/messages", `{"text":"hi"}`).want(t, 201, "")
	ann.do("POST", "/v1/conversations/room/members", `{"changes":[{"user":"eve","role":"none"}]}`).want(t, 200, "")
	eve.do("POST", "/v1/conversations/room/messages", `{"text":"hi"}`).want(t, 404, chat.NotFound)
	bob.do("POST", "/v1/conversations/room/members", `{"changes":[{"user":"eve","role":"writer"}]}`).want(t, 403, chat.Forbidden)
}

func TestDirect(t *testing.T) {
	s, _, token := newServer(t, nil)
	ann, bob := newCaller(t, s, token("ann")), newCaller(t, s, token("bob"))
	path := "/v1/conversations/" + string(chat.DirectID("ann", "bob"))
	bob.do("POST", path+"/messages", `{"text":"first","to":"ann"}`).want(t, 201, "")
	ann.do("POST", path+"/messages", `{"text":"second"}`).want(t, 201, "")
	ann.do("POST", "/v1/conversations/room/messages", `{"text":"x","to":"bob"}`).want(t, 400, chat.Invalid)
	ann.do("POST", path+"/messages", `{"text":"x","to":"ann"}`).want(t, 400, chat.Invalid)
	got := ann.do("GET", path+"/entries", "").want(t, 200, "")
	if got.number(t, "head") != 3 {
		t.Errorf("head = %s, want 3: the creation and two messages", got.raw)
	}
	ann.do("POST", "/v1/conversations", `{"kind":"direct","to":"cas"}`).want(t, 201, "")
}

func TestRefusals(t *testing.T) {
	s, _, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	ray := newCaller(t, s, token("ray"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")
	const room = "/v1/conversations/room"
	tests := []struct {
		name    string
		by      *caller
		method  string
		path    string
		body    string
		headers []string
		status  int
		code    chat.Code
	}{
		{name: "no such path", method: "GET", path: "/v2", status: 404, code: chat.NotFound},
		{name: "no such method", method: "DELETE", path: room, status: 405, code: chat.Invalid},
		{name: "no token", method: "GET", path: room, headers: []string{"Authorization", ""}, status: 401, code: chat.Unauthenticated},
		{name: "wrong token", method: "GET", path: room, headers: []string{"Authorization", "Bearer x.y.z"}, status: 401, code: chat.Unauthenticated},
		{name: "no such conversation", method: "GET", path: "/v1/conversations/none", status: 404, code: chat.NotFound},
		{name: "an id that cannot be", method: "GET", path: "/v1/conversations/a%20b", status: 400, code: chat.Invalid},
		{name: "no key", method: "POST", path: room + "/messages", body: `{"text":"x"}`, headers: []string{"Idempotency-Key", ""}, status: 400, code: chat.Invalid},
		{name: "key is no UUID", method: "POST", path: room + "/messages", body: `{"text":"x"}`, headers: []string{"Idempotency-Key", "one"}, status: 400, code: chat.Invalid},
		{name: "no body", method: "POST", path: room + "/messages", status: 400, code: chat.Invalid},
		{name: "an array", method: "POST", path: room + "/messages", body: `[]`, status: 400, code: chat.Invalid},
		{name: "cut short", method: "POST", path: room + "/messages", body: `{"text":"x`, status: 400, code: chat.Invalid},
		{name: "no text", method: "POST", path: room + "/messages", body: `{}`, status: 400, code: chat.Invalid},
		{name: "not UTF-8", method: "POST", path: room + "/messages", body: "{\"text\":\"\xff\"}", status: 400, code: chat.InvalidUTF8},
		{name: "text too long", method: "POST", path: room + "/messages", body: `{"text":"` + strings.Repeat("x", 100_000) + `"}`, status: 413, code: chat.TooLarge},
		{name: "body too large", method: "POST", path: room + "/messages", body: `{"text":"` + strings.Repeat("x", 600_000) + `"}`, status: 413, code: chat.TooLarge},
		{name: "reader writes", by: ray, method: "POST", path: room + "/messages", body: `{"text":"x"}`, status: 403, code: chat.Forbidden},
		{name: "device is no id", method: "GET", path: room, headers: []string{"Chatnode-Device", "a b"}, status: 400, code: chat.Invalid},
		{name: "two directions", method: "GET", path: room + "/entries?before=3&after=1", status: 400, code: chat.Invalid},
		{name: "limit of nothing", method: "GET", path: room + "/entries?limit=0", status: 400, code: chat.Invalid},
		{name: "limit too high", method: "GET", path: room + "/entries?limit=201", status: 400, code: chat.Invalid},
		{name: "seq is no number", method: "GET", path: room + "/entries?after=one", status: 400, code: chat.Invalid},
		{name: "negative", method: "GET", path: room + "/entries?after=-1", status: 400, code: chat.Invalid},
		{name: "wait without after", method: "GET", path: room + "/entries?wait=1s", status: 400, code: chat.Invalid},
		{name: "wait too long", method: "GET", path: room + "/entries?after=0&wait=1h", status: 400, code: chat.Invalid},
		{name: "unknown consistency", method: "GET", path: room + "?consistency=maybe", status: 400, code: chat.Invalid},
		{name: "proof of nothing", method: "GET", path: room + "/proof", status: 400, code: chat.Invalid},
		{name: "proof of both", method: "GET", path: room + "/proof?seq=1&from_size=1", status: 400, code: chat.Invalid},
		{name: "proof beyond the head", method: "GET", path: room + "/proof?seq=99", status: 400, code: chat.Invalid},
		{name: "no changes", method: "POST", path: room + "/members", body: `{"changes":[]}`, status: 400, code: chat.Invalid},
		{name: "unknown kind", method: "POST", path: "/v1/conversations", body: `{"conv":"x","kind":"herd"}`, status: 400, code: chat.Invalid},
		{name: "exists", method: "POST", path: "/v1/conversations", body: `{"conv":"room","kind":"channel"}`, status: 409, code: chat.Exists},
	}
	before := ann.do("GET", room, "").raw
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			by := ann
			if tt.by != nil {
				by = tt.by
			}
			one := *by
			one.t = t
			got := one.do(tt.method, tt.path, tt.body, tt.headers...).want(t, tt.status, tt.code)
			if got.body["type"] != "urn:chatnode:error:"+string(tt.code) || got.body["request_id"] != got.header.Get("X-Request-Id") {
				t.Errorf("problem = %s", got.raw)
			}
		})
	}
	if after := ann.do("GET", room, "").raw; after != before {
		t.Errorf("the refusals left a trace: %s, before them %s", after, before)
	}
}

func TestFaultsOfTheLog(t *testing.T) {
	s, l, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	late := chat.E("append", chat.Busy, "the group's queue is full", nil)
	late.RetryAfter = 1200 * time.Millisecond
	l.fail(late)
	got := ann.do("POST", "/v1/conversations", group).want(t, 503, chat.Busy)
	if got.header.Get("Retry-After") != "2" || got.number(t, "retry_after_ms") != 1200 {
		t.Errorf("Retry-After %q, %s: want 2 seconds and 1200 ms", got.header.Get("Retry-After"), got.raw)
	}
	l.fail(fmt.Errorf("a secret of the disk"))
	got = ann.do("GET", "/v1/conversations/room", "").want(t, 500, chat.Internal)
	if strings.Contains(got.raw, "secret") {
		t.Errorf("the cause went to the caller: %s", got.raw)
	}
}

func TestLongPoll(t *testing.T) {
	s, l, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")
	if got := ann.do("GET", "/v1/conversations/room/entries?after=1&wait=1ms", "").want(t, 200, ""); len(got.body["entries"].([]any)) != 0 {
		t.Errorf("after its time a poll answers %s, want an empty page", got.raw)
	}
	polled := make(chan answer)
	go func() { polled <- ann.do("GET", "/v1/conversations/room/entries?after=1&wait=60s", "") }()
	for l.watchers("room") == 0 {
		select {
		case a := <-polled:
			t.Fatalf("the poll did not wait: %s", a.raw)
		default:
			runtime.Gosched()
		}
	}
	ann.do("POST", "/v1/conversations/room/messages", `{"text":"now"}`).want(t, 201, "")
	got := (<-polled).want(t, 200, "")
	if list, _ := got.body["entries"].([]any); len(list) != 1 {
		t.Errorf("the poll answers %s, want the new entry", got.raw)
	}
	if n := l.watchers("room"); n != 0 {
		t.Errorf("%d tails are open after the polls", n)
	}
}

func TestLimits(t *testing.T) {
	s, l, token := newServer(t, func(c *Config) { c.RequestsMax, c.WaitersMax = 1, 1 })
	ann := newCaller(t, s, token("ann"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")

	ctx, cancel := context.WithCancel(t.Context())
	l.mu.Lock()
	l.hold = true
	l.mu.Unlock()
	ended := make(chan int)
	go func() { // a request in work, until its caller goes away
		r := httptest.NewRequestWithContext(ctx, "POST", "http://node/v1/conversations/room/messages", strings.NewReader(`{"text":"x"}`))
		r.Header.Set("Authorization", "Bearer "+ann.token)
		r.Header.Set("Idempotency-Key", key())
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		ended <- w.Code
	}()
	for held := 0; held == 0; {
		l.mu.Lock()
		held = len(l.held)
		l.mu.Unlock()
		runtime.Gosched()
	}
	ann.do("GET", "/v1/conversations/room", "").want(t, 503, chat.Busy)
	cancel()
	if code := <-ended; code != 499 {
		t.Errorf("the request whose caller went away ended with %d, want 499", code)
	}
	ann.do("GET", "/v1/conversations/room", "").want(t, 200, "")
}

func TestPanicIsAnAnswer(t *testing.T) {
	s, _, token := newServer(t, nil)
	s.deps.Backend = nil
	newCaller(t, s, token("ann")).do("GET", "/v1/conversations/room", "").want(t, 500, chat.Internal)
}

func TestServesItsDocument(t *testing.T) {
	s, _, token := newServer(t, nil)
	got := newCaller(t, s, token("ann")).do("GET", "/v1/openapi.json", "").want(t, 200, "")
	if got.body["openapi"] == nil {
		t.Errorf("the document is %.80s", got.raw)
	}
}

func TestConfig(t *testing.T) {
	err := Config{}.Validate()
	for _, key := range []string{"body_bytes_max", "propose_wait", "read_wait", "wait_max", "requests_max", "waiters_max"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Validate = %v, want a fault of %s", err, key)
		}
	}
}
