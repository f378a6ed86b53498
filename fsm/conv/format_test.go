package conv_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/merkle"
)

// update writes the vectors into the document and the golden log anew. What is
// released must not change by it.
var update = flag.Bool("update", false, "write golden files anew")

const (
	document   = "../../docs/format.md"
	vectorsTop = "<!-- vectors: written by go test ./fsm/conv -update, checked by go test ./fsm/conv -->\n"
	vectorsEnd = "<!-- end of vectors -->\n"
)

// vectorEntries is one short conversation with a creation, texts, a membership
// change and a target.
func vectorEntries() []chat.Entry {
	at := func(seq chat.Seq, no chat.MsgNo, e chat.Entry) chat.Entry {
		e.Conv, e.Seq, e.MsgNo, e.TimeMS, e.Salt = "tea", seq, no, fsmtest.Epoch+int64(seq), fsmtest.Salt(uint64(seq))
		e.ClientID = fsmtest.ID(fsmtest.Epoch, uint64(seq))
		return e
	}
	return []chat.Entry{
		at(1, 0, chat.Entry{Sender: "ann", Device: "phone", Type: chat.Created, Body: chat.Body{
			Title: "Tea 茶", Kind: chat.Group, Policy: chat.FromJoin, MembersMax: 100,
			Changes: []chat.Change{{User: "ann", Role: chat.Owner}, {User: "bob", Role: chat.Writer}},
		}}),
		at(2, 1, chat.Entry{Sender: "ann", Device: "phone", Type: chat.Message, Body: chat.Body{Text: "hello"}}),
		at(3, 2, chat.Entry{Sender: "bob", Device: "tab", Type: chat.Message, Body: chat.Body{Text: "你好 🙂", ContentType: "text/markdown"}}),
		at(4, 2, chat.Entry{Sender: "ann", Device: "phone", Type: chat.MemberRemoved, Body: chat.Body{
			Changes: []chat.Change{{User: "bob", Role: chat.NoRole}},
		}}),
		at(5, 2, chat.Entry{Sender: "ann", Device: "phone", Type: chat.Redact, Target: 3}),
	}
}

// vectors is the block of the document that a test can compute.
func vectors() string {
	var b strings.Builder
	line := func(name string, v any) { fmt.Fprintf(&b, "%-14s %v\n", name, v) }
	hexOf := func(p []byte) string { return hex.EncodeToString(p) }
	b.WriteString("```text\n")
	var tree merkle.Range
	for _, e := range vectorEntries() {
		body := chat.AppendBody(nil, &e.Body)
		hash := chat.BodyHash(e.Salt, &e.Body, nil)
		leaf := chat.Leaf{
			Conv: string(e.Conv), Sender: []byte(e.Sender), Device: []byte(e.Device), Seq: e.Seq, Target: e.Target,
			TimeMS: e.TimeMS, ClientID: e.ClientID, Type: e.Type, Body: hash,
		}
		sum := chat.LeafHash(&e)
		tree.Append(sum)
		root := tree.Root()
		fmt.Fprintf(&b, "entry          conv=%s seq=%d time_ms=%d sender=%s device=%s client_id=%s type=%d target=%d\n",
			e.Conv, e.Seq, e.TimeMS, e.Sender, e.Device, e.ClientID, e.Type, e.Target)
		line("salt", hexOf(e.Salt[:]))
		line("body", hexOf(body))
		line("body hash", hexOf(hash[:]))
		line("leaf input", hexOf(leaf.Append(nil)))
		line("leaf", hexOf(sum[:]))
		line("root", fmt.Sprintf("%x (of %d)", root, e.Seq))
		line("stored", hexOf(conv.AppendEntry(nil, &e)))
		b.WriteString("\n")
	}
	var w fsm.BatchWriter
	cmd := fsm.Encode(nil, fsmtest.Send("tea", "ann", fsmtest.ID(fsmtest.Epoch, 2), "hello"))
	line("command", hexOf(cmd))
	w.Add(fsmtest.Salt(2), cmd)
	line("batch", hexOf(w.Finish(fsm.Stamp{TimeMS: fsmtest.Epoch + 2})))
	store := fsmtest.NewStore()
	l := fsmtest.Log{Machine: conv.New(1, nil), Store: store}
	if _, err := l.Apply(fsmtest.Epoch+1, fsmtest.Group("tea", "ann", fsmtest.ID(fsmtest.Epoch, 1), chat.Change{User: "bob", Role: chat.Writer})); err != nil {
		line("error", err)
	}
	b.WriteString("\nrows of group 1 after the creation of a group \"tea\" titled \"a group\":\n")
	_ = store.Scan(nil, []byte{0xff}, false, func(k, v []byte) (bool, error) {
		line("key", hexOf(k))
		line("value", hexOf(v))
		return true, nil
	})
	b.WriteString("```\n")
	return b.String()
}

func TestDocumentedVectors(t *testing.T) {
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(raw)
	head, rest, ok := strings.Cut(doc, vectorsTop)
	got, tail, ok2 := strings.Cut(rest, vectorsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no block of vectors", document)
	}
	want := vectors()
	if *update {
		if err := os.WriteFile(document, []byte(head+vectorsTop+want+vectorsEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s has other vectors than the code computes:\n%s", document, want)
	}
}
