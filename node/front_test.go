package node

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// TestEveryAnswerIsOfOneKind asks the client port for what each of its parts
// serves and refuses: all answers name their request, and every refusal is a
// problem that repeats the name.
func TestEveryAnswerIsOfOneKind(t *testing.T) {
	c := valid(t)
	c.Cluster.Groups, c.Cluster.Replicas = 1, 1
	n := start(t, c)
	defer func() {
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	ann := newUser(t, n, c)
	const anon = "Bearer x.y.z"
	upgrade := []string{
		"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version",
	}
	with := func(headers ...string) []string { return append(append([]string(nil), upgrade...), headers...) }
	tests := []struct {
		name, method, path string
		headers            []string
		status             int
		code               chat.Code // of a problem
		has                string    // a header and what it holds, as NAME: VALUE
	}{
		{"health", "GET", "/healthz", nil, 200, "", ""},
		{"readiness", "GET", "/readyz", nil, 200, "", ""},
		{"metrics", "GET", "/metrics", nil, 200, "", ""},
		{"OpenAPI", "GET", "/v1/openapi.json", nil, 200, "", ""},
		{"AsyncAPI", "GET", "/v1/asyncapi.json", nil, 200, "", ""},
		{"head of health", "HEAD", "/healthz", nil, 200, "", ""},
		{"head of a document", "HEAD", "/v1/openapi.json", nil, 200, "", "Content-Type: application/json"},
		{"head of what is not there", "HEAD", "/v1/conversations/none", nil, 404, "", "Content-Type: application/problem+json"},
		{"health is read", "POST", "/healthz", nil, 405, chat.Invalid, "Allow: GET"},
		{"readiness is read", "PUT", "/readyz", nil, 405, chat.Invalid, "Allow: HEAD"},
		{"a document is read", "DELETE", "/v1/asyncapi.json", nil, 405, chat.Invalid, "Allow: GET"},
		{"no such path", "GET", "/v2", nil, 404, chat.NotFound, ""},
		{"two slashes", "GET", "//v1/openapi.json", nil, 404, chat.NotFound, ""},
		{"an encoded path in an id", "GET", "/v1/conversations/room%2F..%2Froom", nil, 400, chat.Invalid, ""},
		{"no such method", "DELETE", "/v1/conversations/room", nil, 405, chat.Invalid, "Allow: GET"},
		{"no token", "GET", "/v1/conversations/room", []string{"Authorization", anon}, 401, chat.Unauthenticated, "Www-Authenticate: Bearer"},
		{"control", "GET", "/v1/admin/status", nil, 200, "", ""},
		{"control without a token", "GET", "/v1/admin/status", []string{"Authorization", anon}, 401, chat.Unauthenticated, "Www-Authenticate: Bearer"},
		{"control of what is not there", "GET", "/v1/admin/nothing", nil, 404, chat.NotFound, ""},
		{"control by the wrong method", "GET", "/v1/admin/transfer", nil, 405, chat.Invalid, "Allow: POST"},
		{"control without a body", "POST", "/v1/admin/transfer", nil, 400, chat.Invalid, ""},
		{"socket without an upgrade", "GET", "/v1/ws", nil, 426, chat.Invalid, "Upgrade: websocket"},
		{"socket by the wrong method", "POST", "/v1/ws", nil, 405, chat.Invalid, "Allow: GET"},
		{"socket of an old version", "GET", "/v1/ws", with("8"), 400, chat.UnsupportedVer, "Sec-Websocket-Version: 13"},
		{"socket of another protocol", "GET", "/v1/ws", with("13", "Sec-WebSocket-Protocol", "x"), 400, chat.UnsupportedVer, ""},
		{"socket of another page", "GET", "/v1/ws", with("13", "Origin", "https://evil.example.org"), 403, chat.Forbidden, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			one := *ann
			one.t = t
			resp, body := one.do(tt.method, tt.path, "", tt.headers...)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, tt.status, body)
			}
			id := resp.Header.Get("X-Request-Id")
			if id == "" {
				t.Error("no X-Request-Id")
			}
			if name, want, ok := strings.Cut(tt.has, ": "); ok && !strings.Contains(resp.Header.Get(name), want) {
				t.Errorf("%s is %q, want %q in it", name, resp.Header.Get(name), want)
			}
			if tt.method == http.MethodHead && body != "" {
				t.Errorf("HEAD has the body %q", body)
			}
			if tt.code == "" {
				return
			}
			var p struct {
				Type, Title, Detail string
				Status              int
				Code                chat.Code
				RequestID           string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(body), &p); err != nil || resp.Header.Get("Content-Type") != wire.ProblemContentType {
				t.Fatalf("%s %q is no problem: %v", resp.Header.Get("Content-Type"), body, err)
			}
			if p.Type != wire.ProblemType+string(tt.code) || p.Code != tt.code || p.Status != tt.status || p.RequestID != id || p.Title == "" {
				t.Errorf("problem %s of request %s, want %s with %d", body, id, tt.code, tt.status)
			}
		})
	}
}
