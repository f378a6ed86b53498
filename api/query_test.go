package api

import (
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
)

// TestQueriesThatAreNotUnderstood holds that no parameter is passed over: a
// page from the wrong place looks like an answer.
func TestQueriesThatAreNotUnderstood(t *testing.T) {
	s, _, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")
	const room = "/v1/conversations/room"
	tests := []struct {
		name, method, path, body, says string
	}{
		{"broken escape", "GET", room + "/entries?%zz", "", "malformed"},
		{"broken escape beside a good one", "GET", room + "/entries?after=0&limit=%", "", "malformed"},
		{"semicolon", "GET", room + "/entries?after=2;limit=1", "", "malformed"},
		{"unknown on entries", "GET", room + "/entries?after=0&foo=1", "", "foo"},
		{"misspelt", "GET", room + "/entries?afer=0", "", "afer"},
		{"another route's", "GET", room + "/proof?seq=1&limit=1", "", "limit"},
		{"unknown on info", "GET", room + "?seq=1", "", "seq"},
		{"twice", "GET", room + "?consistency=stale&consistency=leader", "", "consistency"},
		{"wait twice", "GET", room + "/entries?after=0&wait=1ms&wait=2ms", "", "wait"},
		{"on create", "POST", "/v1/conversations?dry=1", `{"kind":"group"}`, "dry"},
		{"on send", "POST", room + "/messages?after=1", `{"text":"x"}`, "after"},
		{"on members", "POST", room + "/members?x", `{"changes":[{"user":"cas","role":"writer"}]}`, "x"},
		{"malformed on send", "POST", room + "/messages?%zz", `{"text":"x"}`, "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			one := *ann
			one.t = t
			got := one.do(tt.method, tt.path, tt.body).want(t, 400, chat.Invalid)
			if detail, _ := got.body["detail"].(string); !strings.Contains(detail, tt.says) {
				t.Errorf("detail = %q, want it to say %q", detail, tt.says)
			}
		})
	}
	if got := ann.do("GET", room, ""); got.number(t, "head") != 1 {
		t.Errorf("the refusals left a trace: %s", got.raw)
	}
}

// TestIDInTheBody holds that the header alone names a message.
func TestIDInTheBody(t *testing.T) {
	s, _, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")
	id := key()
	send := func(body string) answer {
		return ann.do("POST", "/v1/conversations/room/messages", body, "Idempotency-Key", id)
	}
	send(`{"text":"x","id":"m1"}`).want(t, 400, chat.Invalid)
	got := send(`{"text":"x","id":"`+key()+`"}`).want(t, 400, chat.Invalid)
	if detail, _ := got.body["detail"].(string); !strings.Contains(detail, "Idempotency-Key") {
		t.Errorf("detail = %q, want it to name the header", detail)
	}
	send(`{"text":"x","id":"`+id+`"}`).want(t, 201, "")
}
