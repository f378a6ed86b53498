package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// twin reads a frame the slow way: encoding/json, and the exact names.
func twin(frame string) (objects []map[string]json.RawMessage, ok bool) {
	dec := json.NewDecoder(strings.NewReader(frame))
	var raw json.RawMessage
	if dec.Decode(&raw) != nil || dec.More() {
		return nil, false
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	for _, o := range list {
		var m map[string]json.RawMessage
		if json.Unmarshal(o, &m) != nil {
			m = nil
		}
		objects = append(objects, m)
	}
	return objects, true
}

func text(m map[string]json.RawMessage, name string) string {
	var s string
	_ = json.Unmarshal(m[name], &s) // "" is what is wanted of anything else
	return s
}

// FuzzRequest wants what is accepted to be JSON in which encoding/json sees the
// same values, and what was written to be read back the same.
func FuzzRequest(f *testing.F) {
	f.Add(`{"type":"send","ref":4,"conv":"team-7","id":"` + uuid + `","text":"hello \"\u4e16\ud83d\ude42\" \n"}`)
	f.Add(`[{"type":"send","ref":5,"to":"bob","id":"` + uuid + `","after":"` + uuid + `","text":"x","content_type":"a/b"},{"type":"ping"}]`)
	f.Add(`{"type":"create","ref":2,"conv":"r","id":"` + uuid + `","kind":"group","title":"T","policy":"all","members":[{"user":"bob","role":"writer"}]}`)
	f.Add(`{"type":"history","conv":"r","after":0,"limit":200,"level":"stale","min_seq":20,"x":[{"y":1e5}]}`)
	f.Add(`{"type":"hello","token":"t","device":"d","version":1}`)
	f.Add(`[{"type":"send","text":"\ud83d","ref":1},{"x":[[[[[[[[{"y":[[],1,{}]}]]]]]]]]},{"type":"ping","ref":2}]`)
	f.Fuzz(func(t *testing.T, frame string) {
		objects, isJSON := twin(frame)
		n := 0
		for d := wire.NewDecoder(frame); d.Next(); n++ {
			var req wire.Request
			if err := d.Request(&req); err != nil {
				if chat.CodeOf(err) == chat.Internal {
					t.Fatalf("an error without a code: %v", err)
				}
				if d.Broken() {
					return
				}
				continue
			}
			if utf8.ValidString(frame) && isJSON {
				if n >= len(objects) || objects[n] == nil {
					t.Fatalf("object %d is accepted, and encoding/json has %d", n, len(objects))
				}
				compare(t, objects[n], &req)
			}
			again(t, &req)
		}
		if !isJSON {
			t.Fatalf("a frame was read to its end that is not JSON: %q", frame)
		}
	})
}

func compare(t *testing.T, m map[string]json.RawMessage, req *wire.Request) {
	t.Helper()
	for name, got := range map[string]string{
		"type": req.Type.String(), "conv": string(req.Conv), "text": req.Text, "to": string(req.To),
		"content_type": req.ContentType, "token": req.Token, "device": string(req.Device), "title": req.Title,
	} {
		if want := text(m, name); got != want {
			t.Fatalf("%s = %q, and encoding/json reads %q", name, got, want)
		}
	}
	if raw, ok := m["ref"]; ok {
		var ref uint64
		if err := json.Unmarshal(raw, &ref); err != nil || ref != req.Ref {
			t.Fatalf("ref = %d, and encoding/json reads %d, %v", req.Ref, ref, err)
		}
	}
}

// again writes a request and reads it back.
func again(t *testing.T, req *wire.Request) {
	t.Helper()
	out := wire.AppendRequest(nil, req)
	if !json.Valid(out) {
		t.Fatalf("not JSON: %s", out)
	}
	d := wire.NewDecoder(string(out))
	var back wire.Request
	if d.Next(); true {
		if err := d.Request(&back); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	if second := wire.AppendRequest(nil, &back); !bytes.Equal(out, second) {
		t.Fatalf("written %s, then %s", out, second)
	}
}

// FuzzReply wants whatever is accepted to be written and read back the same.
func FuzzReply(f *testing.F) {
	f.Add(`{"type":"ack","ref":4,"seq":3,"msg_no":1,"time":17,"root":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","dup":true}`)
	f.Add(`{"type":"entries","conv":"r","head":4,"entries":[{"seq":1,"sender":"a","id":"` + uuid + `","type":"message","salt":"000102030405060708090a0b0c0d0e0f","text":"x"}]}`)
	f.Add(`{"type":"bye","code":"slow_reader","message":"m","resume":[{"conv":"r","seq":3}]}`)
	f.Add(`{"type":"info","ref":13,"conv":"r","kind":"group","policy":"all","head":4,"members":[{"user":"ann","role":"owner","seq":1}]}`)
	f.Add(`{"type":"proof","conv":"r","seq":3,"size":4,"path":[]}`)
	f.Add(`{"type":"welcome","user":"a","limits":{"unacked":3}}`)
	f.Fuzz(func(t *testing.T, frame string) {
		for d := wire.NewDecoder(frame); d.Next(); {
			var rep, back wire.Reply
			if err := d.Reply(&rep); err != nil {
				if d.Broken() {
					return
				}
				continue
			}
			out := wire.AppendReply(nil, &rep)
			if !json.Valid(out) {
				t.Fatalf("not JSON: %s", out)
			}
			d := wire.NewDecoder(string(out))
			d.Next()
			if err := d.Reply(&back); err != nil {
				if chat.CodeOf(err) == chat.Invalid { // such as a kind that was not given
					continue
				}
				t.Fatalf("%s: %v", out, err)
			}
			if second := wire.AppendReply(nil, &back); !bytes.Equal(out, second) {
				t.Fatalf("written %s, then %s", out, second)
			}
		}
	})
}

// FuzzString holds the writer of strings against encoding/json.
func FuzzString(f *testing.F) {
	f.Add("plain text that is longer than eight bytes")
	f.Add("\"\\\n\r\t\x00\x1f\x7f 世界 🙂 \u2028 \xff\xc0 \xed\xa0\x80")
	f.Fuzz(func(t *testing.T, s string) {
		out := wire.AppendString(nil, s)
		var got string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q becomes %s: %v", s, out, err)
		}
		if want := strings.ToValidUTF8(s, "\uFFFD"); utf8.ValidString(s) && got != want {
			t.Fatalf("%q becomes %s", s, out)
		}
	})
}

// FuzzEntry writes an entry of arbitrary fields and reads it back with both
// readers.
func FuzzEntry(f *testing.F) {
	f.Add(uint64(1), "ann", "phone", "text", "text/plain", "title", byte(2))
	f.Add(uint64(1<<53-1), "", "", "\"\\\u2028", "", "世界", byte(9))
	f.Fuzz(func(t *testing.T, seq uint64, sender, device, body, contentType, title string, kind byte) {
		for _, s := range []string{sender, device, body, contentType, title} {
			if !utf8.ValidString(s) {
				return
			}
		}
		e := chat.Entry{
			Seq: chat.Seq(seq % (wire.RefMax + 1)), TimeMS: int64(seq % 1000), Sender: chat.UserID(sender), Device: chat.DeviceID(device),
			Type: chat.EntryType(kind % 9),
			Body: chat.Body{Kind: chat.Kind(kind % 4), Title: title, Text: body, ContentType: contentType},
		}
		out := wire.AppendEntry(nil, &e)
		var m map[string]json.RawMessage
		if err := json.Unmarshal(out, &m); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if text(m, "text") != body || text(m, "sender") != sender || text(m, "title") != title {
			t.Fatalf("encoding/json reads another entry in %s", out)
		}
		var back chat.Entry
		if err := wire.Entry(string(out), &back); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if diff := cmp.Diff(e, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}
