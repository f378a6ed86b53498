package wire_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var sample = regexp.MustCompile("(?s)```json ([a-z ]+)\n(.*?)\n```")

// TestDocumentedFrames decodes every sample of the protocol, writes it again
// and wants the same JSON.
func TestDocumentedFrames(t *testing.T) {
	types := make(map[wire.Type]bool)
	for _, m := range sample.FindAllStringSubmatch(document(t), -1) {
		kind, text := m[1], m[2]
		switch kind {
		case "client":
			for d := wire.NewDecoder(text); d.Next(); {
				var req wire.Request
				if err := d.Request(&req); err != nil {
					t.Errorf("%s: %v", text, err)
					continue
				}
				types[req.Type] = true
				if !strings.HasPrefix(text, "[") {
					same(t, text, wire.AppendRequest(nil, &req))
				}
			}
		case "node":
			for d := wire.NewDecoder(text); d.Next(); {
				var rep wire.Reply
				if err := d.Reply(&rep); err != nil {
					t.Errorf("%s: %v", text, err)
					continue
				}
				types[rep.Type] = true
				same(t, text, wire.AppendReply(nil, &rep))
			}
		case "http ack", "http page":
			of := map[string]wire.Type{"http ack": wire.Ack, "http page": wire.Page}[kind]
			var rep wire.Reply
			if err := rep.Body(of, text); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			same(t, text, wire.AppendBody(nil, &rep))
		case "http problem":
			same(t, text, wire.AppendProblem(nil, &wire.Problem{
				Status: 503, Code: chat.Busy, Detail: "the group's queue is full", RequestID: "5f0c9a52d1e07b34", RetryAfterMS: 50,
			}))
		default:
			t.Errorf("a sample of kind %q", kind)
		}
	}
	for typ := wire.Hello; typ <= wire.Bye; typ++ {
		if !types[typ] {
			t.Errorf("no sample of %s", typ)
		}
	}
}

// same compares two JSON texts by their values.
func same(t *testing.T, want string, got []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(want), &a); err != nil {
		t.Errorf("%s: %v", want, err)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Errorf("%s: %v", got, err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("written again (-want +got):\n%s", diff)
	}
}

func TestDocumentedCodes(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([a-z_0-9]+)` \\| (\\d+) \\| (\\d+) \\| (yes|no) \\| (.*) \\|$")
	var got, want []string
	for _, m := range row.FindAllStringSubmatch(document(t), -1) {
		got = append(got, strings.Join(m[1:], " "))
	}
	for _, f := range wire.Faults() {
		retry := "no"
		if f.Retry {
			retry = "yes"
		}
		want = append(want, fmt.Sprintf("%s %d %d %s %s", f.Code, f.HTTP, f.Close, retry, f.Title))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/protocol.md against the table (-table +document):\n%s", diff)
	}
}

// TestEveryCodeHasARow reads the constants of package chat.
func TestEveryCodeHasARow(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../chat/code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			s, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Error(err)
			}
			if code := chat.Code(s); code != chat.OK {
				codes++
				if wire.FaultOf(code).Code != code {
					t.Errorf("%s has no row", code)
				}
			}
		}
		return true
	})
	if codes != len(wire.Faults()) {
		t.Errorf("%d codes and %d rows", codes, len(wire.Faults()))
	}
}

func TestFaults(t *testing.T) {
	closes := make(map[int]chat.Code)
	for _, f := range wire.Faults() {
		if other, ok := closes[f.Close]; ok {
			t.Errorf("%s and %s share %d", f.Code, other, f.Close)
		}
		closes[f.Close] = f.Code
		if f.Retry != (f.Close >= 4000 && f.Close < 4100) || !f.Retry && (f.Close < 4500 || f.Close >= 4600) {
			t.Errorf("%s: retry %v and close code %d", f.Code, f.Retry, f.Close)
		}
		if f.HTTP < 400 || f.HTTP > 599 || f.Title == "" {
			t.Errorf("%s: status %d, title %q", f.Code, f.HTTP, f.Title)
		}
		if code, ok := wire.CodeOfClose(f.Close); !ok || code != f.Code {
			t.Errorf("close code %d is of %q, want %q", f.Close, code, f.Code)
		}
	}
	if f := wire.FaultOf("nonsense"); f.Code != chat.Internal {
		t.Errorf("an unknown code has the row of %s", f.Code)
	}
	if _, ok := wire.CodeOfClose(1000); ok {
		t.Error("1000 is a code of ours")
	}
}

func TestDocumentedLimits(t *testing.T) {
	l := wire.DefaultLimits()
	text := document(t)
	for _, want := range []string{
		fmt.Sprintf("| bytes in one client frame | %d KiB |", l.FrameBytes>>10),
		fmt.Sprintf("| objects in one client frame | %d |", l.FrameObjects),
		fmt.Sprintf("| nesting depth | %d |", wire.DepthMax),
		fmt.Sprintf("| text | %d,%03d characters and %d KiB |", l.TextRunes/1000, l.TextRunes%1000, l.TextBytes>>10),
		fmt.Sprintf("| page | %d entries and %d MiB |", l.PageEntries, l.PageBytes>>20),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/protocol.md does not say %q", want)
		}
	}
}
