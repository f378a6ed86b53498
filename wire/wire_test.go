package wire_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const uuid = "018f3c5e-7b1a-7000-8000-000000000003"

func TestBadRequests(t *testing.T) {
	long := strings.Repeat("x", chat.TextBytesMax+1)
	tests := []struct {
		name   string
		frame  string
		code   chat.Code
		broken bool // nothing can be read after it
		ref    uint64
	}{
		{"empty", ``, chat.Invalid, true, 0},
		{"space", `   `, chat.Invalid, true, 0},
		{"cut", `{"type":"ping"`, chat.Invalid, true, 0},
		{"cut in a string", `{"type":"pi`, chat.Invalid, true, 0},
		{"cut in an escape", `{"type":"\u00`, chat.Invalid, true, 0},
		{"behind the object", `{"type":"ping"}x`, chat.Invalid, true, 0},
		{"two objects", `{"type":"ping"}{"type":"ping"}`, chat.Invalid, true, 0},
		{"comma at the end", `{"type":"ping",}`, chat.Invalid, true, 0},
		{"no colon", `{"type" "ping"}`, chat.Invalid, true, 0},
		{"no quotes", `{type:"ping"}`, chat.Invalid, true, 0},
		{"single quotes", `{'type':'ping'}`, chat.Invalid, true, 0},
		{"raw control byte", "{\"type\":\"pi\nng\"}", chat.Invalid, true, 0},
		{"bad escape", `{"type":"\x"}`, chat.Invalid, true, 0},
		{"leading zero", `{"type":"ping","x":01}`, chat.Invalid, true, 0},
		{"bad number", `{"type":"ping","x":1.}`, chat.Invalid, true, 0},
		{"NaN", `{"type":"ping","x":NaN}`, chat.Invalid, true, 0},
		{"too deep", `{"type":"ping","x":[[[[[[[[[[]]]]]]]]]],"ref":7}`, chat.Invalid, false, 7},
		{"too deep and cut", `{"type":"ping","x":[[[[[[[[[[1,{"y":[2,`, chat.Invalid, true, 0},
		{"too deep and no JSON", `{"type":"ping","x":[[[[[[[[[[1}]]]]]]]]],"ref":7}`, chat.Invalid, true, 0},
		{"far too deep", `{"type":"ping","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, chat.Invalid, true, 0},
		{"not UTF-8", "{\"type\":\"\xff\",\"ref\":7}", chat.InvalidUTF8, false, 7},
		{"half a surrogate", `{"type":"\ud800","ref":7}`, chat.InvalidUTF8, false, 7},
		{"half a surrogate at the end", `{"ref":7,"type":"send","conv":"r","id":"` + uuid + `","text":"cut \ud83d"}`, chat.InvalidUTF8, false, 7},
		{"half a surrogate and the frame", `{"type":"\ud800\u00`, chat.Invalid, true, 0},
		{"half a surrogate in a name", `{"\ud800":1,"type":"ping","ref":7}`, chat.InvalidUTF8, false, 7},
		{"half a surrogate in what is no object", `"\ud800"`, chat.Invalid, false, 0},
		{"a surrogate and a letter", `{"type":"\ud800\u0041","ref":7}`, chat.InvalidUTF8, false, 7},
		{"the wrong half", `{"type":"\udc00\ud800","ref":7}`, chat.InvalidUTF8, false, 7},
		{"a number", `7`, chat.Invalid, false, 0},
		{"null", `null`, chat.Invalid, false, 0},
		{"no type", `{"ref":7}`, chat.Invalid, false, 7},
		{"unknown type", `{"ref":7,"type":"dance"}`, chat.UnknownType, false, 7},
		{"upper case", `{"ref":7,"type":"Ping"}`, chat.UnknownType, false, 7},
		{"type of an answer", `{"ref":7,"type":"ack"}`, chat.UnknownType, false, 7},
		{"type a number", `{"ref":7,"type":1}`, chat.Invalid, false, 7},
		{"type twice", `{"ref":7,"type":"ping","type":"ping"}`, chat.Invalid, false, 7},
		{"ref a string", `{"ref":"7","type":"ping"}`, chat.Invalid, false, 0},
		{"ref negative", `{"ref":-7,"type":"ping"}`, chat.Invalid, false, 0},
		{"ref a fraction", `{"ref":7.5,"type":"ping"}`, chat.Invalid, false, 0},
		{"ref too large", `{"ref":9007199254740992,"type":"ping"}`, chat.Invalid, false, 0},
		{"ref far too large", `{"ref":99999999999999999999999,"type":"ping"}`, chat.Invalid, false, 0},
		{"send without id", `{"ref":7,"type":"send","conv":"r","text":"x"}`, chat.Invalid, false, 7},
		{"id no UUID", `{"ref":7,"type":"send","conv":"r","id":"7","text":"x"}`, chat.Invalid, false, 7},
		{"id of other letters", `{"ref":7,"type":"send","conv":"r","id":"z18f3c5e-7b1a-7000-8000-000000000003","text":"x"}`, chat.Invalid, false, 7},
		{"send without text", `{"ref":7,"type":"send","conv":"r","id":"` + uuid + `"}`, chat.Invalid, false, 7},
		{"send to nowhere", `{"ref":7,"type":"send","id":"` + uuid + `","text":"x"}`, chat.Invalid, false, 7},
		{"send to two", `{"ref":7,"type":"send","conv":"r","to":"bob","id":"` + uuid + `","text":"x"}`, chat.Invalid, false, 7},
		{"conv with a space", `{"ref":7,"type":"send","conv":"a b","id":"` + uuid + `","text":"x"}`, chat.Invalid, false, 7},
		{"text null", `{"ref":7,"type":"send","conv":"r","id":"` + uuid + `","text":null}`, chat.Invalid, false, 7},
		{"text too long", `{"ref":7,"type":"send","conv":"r","id":"` + uuid + `","text":"` + long + `"}`, chat.TooLarge, false, 7},
		{"too many characters", `{"ref":7,"type":"send","conv":"r","id":"` + uuid + `","text":"` + long[:100_000] + `"}`, chat.TooLarge, false, 7},
		{"content type too long", `{"ref":7,"type":"send","conv":"r","id":"` + uuid + `","text":"x","content_type":"` + long[:65] + `"}`, chat.TooLarge, false, 7},
		{"after zero", `{"ref":7,"type":"send","conv":"r","id":"` + uuid + `","after":"00000000-0000-0000-0000-000000000000","text":"x"}`, chat.Invalid, false, 7},
		{"version 2", `{"ref":7,"type":"hello","token":"x","version":2}`, chat.UnsupportedVer, false, 7},
		{"token too long", `{"ref":7,"type":"hello","token":"` + long[:wire.TokenBytesMax+1] + `"}`, chat.Unauthenticated, false, 7},
		{"create without kind", `{"ref":7,"type":"create","conv":"r","id":"` + uuid + `"}`, chat.Invalid, false, 7},
		{"unknown kind", `{"ref":7,"type":"create","conv":"r","id":"` + uuid + `","kind":"mob"}`, chat.Invalid, false, 7},
		{"unknown role", `{"ref":7,"type":"create","conv":"r","id":"` + uuid + `","kind":"group","members":[{"user":"bob","role":"king"}]}`, chat.Invalid, false, 7},
		{"member without role", `{"ref":7,"type":"create","conv":"r","id":"` + uuid + `","kind":"group","members":[{"user":"bob"}]}`, chat.Invalid, false, 7},
		{"members no list", `{"ref":7,"type":"create","conv":"r","id":"` + uuid + `","kind":"group","members":{}}`, chat.Invalid, false, 7},
		{"too many members", `{"type":"members","conv":"r","id":"` + uuid + `","changes":[` + strings.Repeat(`{"user":"b","role":"none"},`, 100) + `{"user":"b","role":"none"}],"ref":7}`, chat.TooLarge, false, 7},
		{"direct with conv", `{"ref":7,"type":"create","conv":"r","to":"bob","id":"` + uuid + `","kind":"direct"}`, chat.Invalid, false, 7},
		{"no changes", `{"ref":7,"type":"members","conv":"r","id":"` + uuid + `"}`, chat.Invalid, false, 7},
		{"history both ways", `{"ref":7,"type":"history","conv":"r","before":3,"after":1}`, chat.Invalid, false, 7},
		{"history after a UUID", `{"ref":7,"type":"history","conv":"r","after":"` + uuid + `"}`, chat.Invalid, false, 7},
		{"limit too large", `{"ref":7,"type":"history","conv":"r","limit":201}`, chat.Invalid, false, 7},
		{"unknown level", `{"ref":7,"type":"history","conv":"r","level":"psychic"}`, chat.Invalid, false, 7},
		{"proof of nothing", `{"ref":7,"type":"proof","conv":"r"}`, chat.Invalid, false, 7},
		{"proof of two things", `{"ref":7,"type":"proof","conv":"r","seq":1,"from_size":1}`, chat.Invalid, false, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := wire.NewDecoder(tt.frame)
			if !d.Next() {
				t.Fatal("there is nothing to read")
			}
			var req wire.Request
			err := d.Request(&req)
			if chat.CodeOf(err) != tt.code || d.Broken() != tt.broken {
				t.Errorf("Request = %v, broken %v, want %s, broken %v", err, d.Broken(), tt.code, tt.broken)
			}
			if req.Ref != tt.ref {
				t.Errorf("ref = %d, want %d", req.Ref, tt.ref)
			}
			if d.Next() {
				t.Error("there is more to read")
			}
		})
	}
}

func TestArrays(t *testing.T) {
	tests := []struct {
		frame string
		refs  []uint64 // of the good ones
		codes []chat.Code
	}{
		{`[]`, nil, []chat.Code{chat.Invalid}},
		{` [ ] `, nil, []chat.Code{chat.Invalid}},
		{`[{"type":"history","conv":"r","ref":1,"before":9,"after":null,"around":null,"limit":null,"level":null}]`, []uint64{1}, nil},
		{`[{"type":"send","conv":"r","to":null,"ref":1,"id":"` + uuid + `","after":null,"text":"x","content_type":null}]`, []uint64{1}, nil},
		{`[{"type":"subscribe","conv":"r","ref":1,"from":null}]`, []uint64{1}, nil},
		{`[]x`, nil, []chat.Code{chat.Invalid}},
		{`[{"type":"ping","ref":1}]`, []uint64{1}, nil},
		{` [ {"type":"ping","ref":1} , {"type":"ping","ref":2} ] `, []uint64{1, 2}, nil},
		{`[{"type":"ping","ref":1},{"type":"x"},7,{"type":"ping","ref":2}]`, []uint64{1, 2}, []chat.Code{chat.UnknownType, chat.Invalid}},
		{`[{"type":"ping","ref":1},{"type":]`, []uint64{1}, []chat.Code{chat.Invalid}},
		{`[{"type":"ping","ref":1},]`, []uint64{1}, []chat.Code{chat.Invalid}},
		{`[{"type":"ping","ref":1}`, []uint64{1}, []chat.Code{chat.Invalid}},
		{`[{"type":"ping","ref":1}]]`, []uint64{1}, []chat.Code{chat.Invalid}},
		{`[[{"type":"ping","ref":1}]]`, nil, []chat.Code{chat.Invalid}},
		{`[{"type":"ping","x":"\ud83d"},{"type":"ping","x":[[[[[[[[{"y":[]},2]]]]]]]]},["\ud83d"],{"type":"ping","ref":1}]`, []uint64{1}, []chat.Code{chat.InvalidUTF8, chat.Invalid, chat.Invalid}},
	}
	for _, tt := range tests {
		var refs []uint64
		var codes []chat.Code
		for d := wire.NewDecoder(tt.frame); d.Next(); {
			var req wire.Request
			if err := d.Request(&req); err != nil {
				codes = append(codes, chat.CodeOf(err))
			} else {
				refs = append(refs, req.Ref)
			}
		}
		if diff := cmp.Diff(tt.refs, refs); diff != "" {
			t.Errorf("%s: refs (-want +got):\n%s", tt.frame, diff)
		}
		if diff := cmp.Diff(tt.codes, codes); diff != "" {
			t.Errorf("%s: codes (-want +got):\n%s", tt.frame, diff)
		}
	}
	many := "[" + strings.Repeat(`{"type":"ping"},`, wire.FrameObjectsMax) + `{"type":"ping"}]`
	n := 0
	for d := wire.NewDecoder(many); d.Next(); n++ {
		var req wire.Request
		err := d.Request(&req)
		if want := n >= wire.FrameObjectsMax; (chat.CodeOf(err) == chat.TooLarge) != want {
			t.Fatalf("object %d: %v", n, err)
		}
	}
	if n != wire.FrameObjectsMax+1 {
		t.Errorf("read %d objects, want %d", n, wire.FrameObjectsMax+1)
	}
}

func TestFramesGather(t *testing.T) {
	var f wire.Frames
	if f.Bytes() != nil || f.Count() != 0 {
		t.Error("the zero value is not empty")
	}
	add := func(ref uint64) { f.Commit(wire.AppendReply(f.Begin(), &wire.Reply{Type: wire.Pong, Ref: ref})) }
	add(1)
	if got, want := string(f.Bytes()), `{"type":"pong","ref":1,"time":0}`; got != want {
		t.Errorf("one object is %s, want %s", got, want)
	}
	f.Reset(nil)
	add(1)
	add(2)
	if got, want := string(f.Bytes()), `[{"type":"pong","ref":1,"time":0},{"type":"pong","ref":2,"time":0}]`; got != want {
		t.Errorf("two objects are %s, want %s", got, want)
	}
}

func TestEntryOfAnUnknownTypeKeepsItsPlace(t *testing.T) {
	var rep wire.Reply
	d := wire.NewDecoder(`{"type":"entries","conv":"r","head":7,"new":1,"entries":[{"seq":7,"type":"poll","options":[1,2]}]}`)
	d.Next()
	if err := d.Reply(&rep); err != nil || len(rep.Entries) != 1 || rep.Entries[0].Seq != 7 || rep.Entries[0].Type != 0 || rep.Entries[0].Conv != "r" {
		t.Errorf("Reply = %+v, %v", rep, err)
	}
}

func TestEntriesRoundTrip(t *testing.T) {
	want := []chat.Entry{
		{
			Conv: "r", Seq: 1, TimeMS: 5, Sender: "ann", Device: "d", ClientID: chat.ClientID{1}, Type: chat.Created, Salt: chat.Salt{15: 9},
			Body: chat.Body{
				Title: "a \"title\"", Kind: chat.Channel, Policy: chat.FromJoin, MembersMax: 10_000,
				Changes: []chat.Change{{User: "ann", Role: chat.Owner}},
			},
		},
		{Conv: "r", Seq: 2, MsgNo: 1, TimeMS: 6, Sender: "bob", Type: chat.Message, Body: chat.Body{ContentType: "text/x", Text: "世界\u2028\x00\x7f<&>"}},
		{Conv: "r", Seq: 3, MsgNo: 1, TimeMS: 6, Sender: "bob", Type: chat.React, Target: 2},
	}
	buf := wire.OpenEntries(nil, "r", 3)
	for i := range want {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = wire.AppendEntry(buf, &want[i])
	}
	var rep wire.Reply
	d := wire.NewDecoder(string(wire.CloseEntries(buf)))
	d.Next()
	if err := d.Reply(&rep); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rep.Entries, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	var one chat.Entry
	if err := wire.Entry(string(wire.AppendEntry(nil, &want[1])), &one); err != nil || one.Body.Text != want[1].Body.Text {
		t.Errorf("Entry = %+v, %v", one, err)
	}
}

func TestExplainHidesCauses(t *testing.T) {
	code, msg, wait := wire.Explain(chat.E("x", chat.Busy, "", cmpopts.AnyError))
	if code != chat.Busy || msg != wire.FaultOf(chat.Busy).Title || wait != 0 {
		t.Errorf("Explain = %s %q %v", code, msg, wait)
	}
	if code, msg, _ := wire.Explain(cmpopts.AnyError); code != chat.Internal || strings.Contains(msg, "any") {
		t.Errorf("Explain of a foreign error = %s %q", code, msg)
	}
}
