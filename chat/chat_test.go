package chat_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestValidIDs(t *testing.T) {
	tests := []struct {
		in         string
		id, userID bool
	}{
		{"", false, false},
		{"a", true, true},
		{"Ann.B-c_1:2@x+y", true, true},
		{"a~b", true, false},
		{"a b", false, false},
		{"a/b", false, false},
		{"é", false, false},
		{"a\x00", false, false},
		{strings.Repeat("x", 30), true, true},
		{strings.Repeat("x", 31), true, false},
		{strings.Repeat("x", 64), true, false},
		{strings.Repeat("x", 65), false, false},
	}
	for _, tt := range tests {
		if got := chat.ValidID(tt.in); got != tt.id {
			t.Errorf("ValidID(%q) = %v, want %v", tt.in, got, tt.id)
		}
		if got := chat.ValidID([]byte(tt.in)); got != tt.id {
			t.Errorf("ValidID of the bytes of %q = %v, want %v", tt.in, got, tt.id)
		}
		if got := chat.ValidUserID(tt.in); got != tt.userID {
			t.Errorf("ValidUserID(%q) = %v, want %v", tt.in, got, tt.userID)
		}
	}
}

func TestDirectID(t *testing.T) {
	if a, b := chat.DirectID("bob", "ann"), chat.DirectID("ann", "bob"); a != b || a != "d~ann~bob" {
		t.Errorf("DirectID = %q and %q, want d~ann~bob from either side", a, b)
	}
	long := chat.UserID(strings.Repeat("x", chat.UserIDBytesMax))
	if id := chat.DirectID(long, long); !chat.ValidID(string(id)) {
		t.Errorf("DirectID of the longest users %q is no id", id)
	}
}

func TestClientID(t *testing.T) {
	const text = "018f3c5e-7b1a-7000-8000-0000000000ff"
	id, err := chat.ParseClientID(strings.ToUpper(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := id.String(); got != text {
		t.Errorf("String = %q, want %q", got, text)
	}
	if ms, ok := id.TimeMS(); !ok || ms != 0x018f3c5e7b1a {
		t.Errorf("TimeMS = %d, %v, want %d", ms, ok, 0x018f3c5e7b1a)
	}
	v4, err := chat.ParseClientID("018f3c5e-7b1a-4000-8000-0000000000ff")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := v4.TimeMS(); ok {
		t.Error("a version 4 id has a time, want none")
	}
	for _, bad := range []string{"", text[1:], text + "0", strings.Replace(text, "-", "_", 1), strings.Replace(text, "f", "g", 1)} {
		if _, err := chat.ParseClientID(bad); err == nil {
			t.Errorf("ParseClientID(%q) succeeded, want an error", bad)
		}
	}
}

func FuzzParseClientID(f *testing.F) {
	f.Add("018f3c5e-7b1a-7000-8000-0000000000ff")
	f.Add("018F3C5E-7B1A-7000-8000-0000000000FF")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := chat.ParseClientID(s)
		if err == nil && id.String() != strings.ToLower(s) {
			t.Errorf("ParseClientID(%q) = %s", s, id)
		}
	})
}

func TestErrors(t *testing.T) {
	cause := errors.New("disk on fire")
	err := fmt.Errorf("outer: %w", chat.E("append", chat.Busy, "try later", cause))
	if got := chat.CodeOf(err); got != chat.Busy {
		t.Errorf("CodeOf = %q, want busy", got)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), "outer: append: busy: try later: disk on fire"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
	if got := chat.CodeOf(nil); got != chat.OK {
		t.Errorf("CodeOf(nil) = %q, want none", got)
	}
	if got := chat.CodeOf(cause); got != chat.Internal {
		t.Errorf("CodeOf of an error without a code = %q, want internal", got)
	}
}

func TestMessageBodyEqualsBody(t *testing.T) {
	for _, b := range []chat.Body{{}, {Text: "hello"}, {Text: "你好", ContentType: "text/markdown"}} {
		want := chat.AppendBody([]byte("x"), &b)
		got := chat.AppendMessageBody([]byte("x"), []byte(b.ContentType), []byte(b.Text))
		if string(got) != string(want) {
			t.Errorf("AppendMessageBody(%+v) = %x, want %x", b, got, want)
		}
	}
}

// Each field of an entry that a reader relies on changes the leaf.
func TestLeafCoversEveryField(t *testing.T) {
	base := chat.Entry{
		Conv: "c", Seq: 1, MsgNo: 1, TimeMS: 5, Sender: "ann", Device: "phone", ClientID: chat.ClientID{1},
		Type: chat.Message, Target: 2, Salt: chat.Salt{3}, Body: chat.Body{Text: "t", ContentType: "c", Changes: []chat.Change{{User: "u", Role: 1}}},
	}
	changes := map[string]func(*chat.Entry){
		"conv":         func(e *chat.Entry) { e.Conv = "d" },
		"seq":          func(e *chat.Entry) { e.Seq++ },
		"time":         func(e *chat.Entry) { e.TimeMS++ },
		"sender":       func(e *chat.Entry) { e.Sender = "bob" },
		"device":       func(e *chat.Entry) { e.Device = "tab" },
		"ids' borders": func(e *chat.Entry) { e.Sender, e.Device = "annp", "hone" },
		"client id":    func(e *chat.Entry) { e.ClientID[15]++ },
		"type":         func(e *chat.Entry) { e.Type = chat.Edit },
		"target":       func(e *chat.Entry) { e.Target++ },
		"salt":         func(e *chat.Entry) { e.Salt[15]++ },
		"text":         func(e *chat.Entry) { e.Body.Text = "T" },
		"content type": func(e *chat.Entry) { e.Body.ContentType = "" },
		"title":        func(e *chat.Entry) { e.Body.Title = "x" },
		"kind":         func(e *chat.Entry) { e.Body.Kind++ },
		"policy":       func(e *chat.Entry) { e.Body.Policy++ },
		"members max":  func(e *chat.Entry) { e.Body.MembersMax++ },
		"member":       func(e *chat.Entry) { e.Body.Changes = []chat.Change{{User: "v", Role: 1}} },
		"role":         func(e *chat.Entry) { e.Body.Changes = []chat.Change{{User: "u", Role: 2}} },
		"no member":    func(e *chat.Entry) { e.Body.Changes = nil },
	}
	seen := map[chat.Hash]string{chat.LeafHash(&base): "the entry itself"}
	for name, change := range changes {
		e := base
		change(&e)
		h := chat.LeafHash(&e)
		if other, ok := seen[h]; ok {
			t.Errorf("another %s has the leaf of another %s", name, other)
		}
		seen[h] = name
	}
}

func BenchmarkLeafHash(b *testing.B) {
	e := chat.Entry{Conv: "conversation-1", Sender: "ann", Device: "phone", Type: chat.Message, Body: chat.Body{Text: strings.Repeat("x", 256)}}
	b.ReportAllocs()
	for b.Loop() {
		chat.LeafHash(&e)
	}
}
