package doctest

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/node"
)

// TestSchemasNameTheLimitOfTitles: the limit is one of bytes, which maxLength,
// of characters, cannot say.
func TestSchemasNameTheLimitOfTitles(t *testing.T) {
	type schema struct {
		MaxLength   int
		Description string
		Properties  map[string]*schema
	}
	for file, name := range map[string]string{"api/openapi.json": "Create", "ws/asyncapi.json": "client_create"} {
		var doc struct {
			Components struct{ Schemas map[string]*schema }
		}
		if err := json.Unmarshal([]byte(read(t, file)), &doc); err != nil {
			t.Fatal(err)
		}
		of := doc.Components.Schemas[name]
		if of == nil || of.Properties["title"] == nil {
			t.Errorf("%s has no %s with a title", file, name)
			continue
		}
		title := of.Properties["title"]
		if want := fmt.Sprintf("%d bytes", chat.TitleBytesMax); title.MaxLength != chat.TitleBytesMax || !strings.Contains(title.Description, want) {
			t.Errorf("%s: the title is %+v, want at most %s", file, *title, want)
		}
	}
	if page := read(t, "docs/protocol.md"); !strings.Contains(page, fmt.Sprintf("| title | %d bytes", chat.TitleBytesMax)) {
		t.Error("docs/protocol.md does not have the limit of titles")
	}
}

// TestAsyncAPINamesTheDefaultPort: a generated client knocks there.
func TestAsyncAPINamesTheDefaultPort(t *testing.T) {
	var doc struct {
		Servers map[string]struct{ Host string }
	}
	if err := json.Unmarshal([]byte(read(t, "ws/asyncapi.json")), &doc); err != nil {
		t.Fatal(err)
	}
	_, want, err := net.SplitHostPort(node.Default().Listen.Client)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range doc.Servers {
		if _, port, err := net.SplitHostPort(s.Host); err != nil || port != want {
			t.Errorf("the server %q is at %s, want port %s", name, s.Host, want)
		}
	}
}
