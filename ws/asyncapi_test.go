package ws_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/chatnode/chatnode/wire"
	"github.com/chatnode/chatnode/ws"
)

// TestAsyncAPI holds the served document against the types of frames and
// against every sample of docs/protocol.md.
func TestAsyncAPI(t *testing.T) {
	rec := httptest.NewRecorder()
	ws.AsyncAPI().ServeHTTP(rec, httptest.NewRequest("GET", "/v1/asyncapi.json", nil))
	var doc struct {
		AsyncAPI   string
		Components json.RawMessage
		Channels   map[string]struct{ Messages map[string]any }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || doc.AsyncAPI != "3.0.0" {
		t.Fatalf("the document: %v, version %q", err, doc.AsyncAPI)
	}
	var parts struct{ Schemas json.RawMessage }
	if err := json.Unmarshal(doc.Components, &parts); err != nil {
		t.Fatal(err)
	}
	// The schemas are of the dialect that OpenAPI shares.
	spec, err := openapi3.NewLoader().LoadFromData([]byte(
		`{"openapi":"3.0.3","info":{"title":"x","version":"1"},"paths":{},"components":{"schemas":` + string(parts.Schemas) + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	for typ := wire.Hello; typ <= wire.Bye; typ++ {
		_, client := doc.Channels["socket"].Messages["client_"+typ.String()]
		_, node := doc.Channels["socket"].Messages["node_"+typ.String()]
		if client != (typ <= wire.Ping) || node != (typ > wire.Ping || typ == wire.Info || typ == wire.Proof) {
			t.Errorf("%s: described for the client %v, for the node %v", typ, client, node)
		}
	}
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	samples := regexp.MustCompile("(?s)```json (client|node)\n(.*?)\n```").FindAllStringSubmatch(string(text), -1)
	for _, m := range samples {
		if strings.HasPrefix(m[2], "[") {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(m[2]), &v); err != nil {
			t.Fatal(err)
		}
		name, _ := v["type"].(string)
		s := spec.Components.Schemas[m[1]+"_"+name]
		if s == nil {
			t.Errorf("no schema for %s %s", m[1], name)
			continue
		}
		if err := s.Value.VisitJSON(v); err != nil {
			t.Errorf("%s: %v", m[2], err)
		}
	}
	if len(samples) < 20 {
		t.Errorf("only %d samples", len(samples))
	}
}
