package conv_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

func FuzzEntry(f *testing.F) {
	for _, e := range vectorEntries() {
		f.Add(string(conv.AppendEntry(nil, &e)))
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, rest, err := conv.DecodeEntry(s)
		if err != nil {
			return
		}
		if len(rest) > len(s) {
			t.Fatalf("%d bytes left of %d", len(rest), len(s))
		}
		back, rest, err := conv.DecodeEntry(string(conv.AppendEntry(nil, &e)))
		if err != nil || rest != "" {
			t.Fatalf("written again: %v, %d bytes left", err, len(rest))
		}
		if diff := cmp.Diff(e, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("written again (-want +got):\n%s", diff)
		}
		chat.LeafHash(&e)
	})
}

func FuzzPage(f *testing.F) {
	_, s := room(f)
	for _, q := range []conv.Query{{Conv: "g", User: "ann"}, {Conv: "g", User: "dee", Mode: conv.After, Seq: 1}} {
		b, err := conv.AppendPage(nil, s, group, q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := conv.DecodePage(b)
		if err == nil && len(p.Entries) > chat.PageEntriesMax {
			t.Fatalf("a page of %d entries", len(p.Entries))
		}
	})
}

func FuzzProof(f *testing.F) {
	_, s := room(f)
	p, err := conv.ReadProof(s, group, conv.ProofQuery{Conv: "g", User: "ann", Seq: 2, OldSize: 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := conv.DecodeProof(b)
		if err != nil {
			return
		}
		back, err := conv.DecodeProof(p.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, back); diff != "" {
			t.Fatalf("written again (-want +got):\n%s", diff)
		}
	})
}

func FuzzInfo(f *testing.F) {
	_, s := room(f)
	in, err := conv.ReadInfo(s, group, "g", "ann")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(conv.AppendInfo(nil, &in))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := conv.DecodeInfo(b)
		if err != nil {
			return
		}
		back, err := conv.DecodeInfo(conv.AppendInfo(nil, &in))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, back); diff != "" {
			t.Fatalf("written again (-want +got):\n%s", diff)
		}
	})
}

// FuzzRow puts any content, rightly sealed, in the place of any row: nothing that
// reads it may panic, and Apply answers or halts.
func FuzzRow(f *testing.F) {
	_, s := room(f)
	n := 0
	if err := s.Scan(nil, []byte{0xff}, false, func(_, v []byte) (bool, error) {
		f.Add(n, v[:len(v)-fsm.SumBytes])
		n++
		return true, nil
	}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, at int, content []byte) {
		s := s.Clone()
		i := 0
		var key []byte
		if err := s.Scan(nil, []byte{0xff}, false, func(k, _ []byte) (bool, error) {
			key = append(key[:0], k...)
			i++
			return i <= at%n, nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Set(key, fsm.Seal(key, append([]byte(nil), content...))); err != nil {
			t.Fatal(err)
		}
		_ = readAll(s)
		_, _ = conv.ReadProof(s, group, conv.ProofQuery{Conv: "g", User: "ann", Seq: 1})
		l := fsmtest.Log{Machine: conv.New(group, nil), Store: s}
		_, _ = l.Apply(now+20, fsmtest.Send("g", "bob", id(3), "one"), fsmtest.Send("g", "cy", id(55), "two"),
			fsmtest.Change("g", "ann", id(56), chat.NoRole, "bob"))
	})
}

// FuzzApply gives any command bytes to a room: it is refused, accepted or halts.
func FuzzApply(f *testing.F) {
	for _, c := range []fsm.Command{
		fsmtest.Send("g", "bob", id(77), "x"), fsmtest.Change("g", "ann", id(78), chat.Reader, "bob"),
		fsmtest.Group("new", "ann", id(79)), fsm.RaiseLevel{To: 1},
	} {
		f.Add(fsm.Encode(nil, c))
	}
	f.Fuzz(func(t *testing.T, cmd []byte) {
		l, s := room(t)
		var w fsm.BatchWriter
		w.Add(chat.Salt{}, cmd)
		res, err := l.Machine.Apply(s, 9, w.Finish(fsm.Stamp{TimeMS: now + 50}), nil)
		if err != nil {
			if fsm.CheckCommand(cmd) == nil {
				t.Fatalf("a command that may enter a log halts it: %v", err)
			}
			return
		}
		if len(res) != 1 {
			t.Fatalf("%d results for one command", len(res))
		}
	})
}
