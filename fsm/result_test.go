package fsm_test

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

var results = []struct {
	name string
	res  fsm.Result
	hex  string
}{
	{"accepted without an ack", fsm.Result{}, "000000"},
	{"refused", fsm.Refuse(chat.Forbidden, "no"), "0009666f7262696464656e026e6f"},
	{"ack", fsm.Result{Ack: chat.Ack{Seq: 300, MsgNo: 2, TimeMS: 64, Root: chat.Hash{1, 2}}}, "020000ac02028001" + "0102" + "000000000000000000000000000000000000000000000000000000000000"},
	{"repeated", fsm.Result{Ack: chat.Ack{Seq: 1, Dup: true}}, "030000010000" + "0000000000000000000000000000000000000000000000000000000000000000"},
	{"data", fsm.Result{Data: []byte("d")}, "0400000164"},
}

func TestGoldenResults(t *testing.T) {
	for _, tt := range results {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.res.Append(nil)
			if got := hex.EncodeToString(b); got != tt.hex {
				t.Errorf("Append = %s, want %s", got, tt.hex)
			}
			got, err := fsm.ReadResult(b)
			if err != nil {
				t.Fatalf("ReadResult = %v, want no error", err)
			}
			if diff := cmp.Diff(tt.res, got); diff != "" {
				t.Errorf("ReadResult (-want +got):\n%s", diff)
			}
			for n := range b {
				if _, err := fsm.ReadResult(b[:n]); err == nil {
					t.Errorf("the first %d of %d bytes were accepted", n, len(b))
				}
			}
		})
	}
}

func TestResultAsError(t *testing.T) {
	if err := (fsm.Result{}).Err("append"); err != nil {
		t.Errorf("Err of an accepted command = %v, want nil", err)
	}
	if got := chat.CodeOf(fsm.Refuse(chat.Conflict, "").Err("append")); got != chat.Conflict {
		t.Errorf("Err of a refused command has the code %q, want conflict", got)
	}
}

func FuzzResult(f *testing.F) {
	for _, r := range results {
		f.Add(r.res.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := fsm.ReadResult(b)
		if err != nil {
			return
		}
		back, err := fsm.ReadResult(r.Append(nil))
		if err != nil {
			t.Fatalf("written again: %v", err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Fatalf("written again (-want +got):\n%s", diff)
		}
	})
}

func TestRowsAreSealed(t *testing.T) {
	key := fsm.LevelKey(3)
	val := fsm.Seal(key, []byte("value"))
	if got, err := fsm.Open(key, val); err != nil || string(got) != "value" {
		t.Fatalf("Open = %q, %v, want value", got, err)
	}
	if got, err := fsm.Open(fsm.LevelKey(4), val); err != nil || string(got) != "value" {
		t.Errorf("Open under another group = %q, %v, want value: rows may move", got, err)
	}
	for i := range val {
		val[i] ^= 0x10
		if _, err := fsm.Open(key, val); chat.CodeOf(err) != chat.Corrupt {
			t.Errorf("byte %d flipped: %v, want corrupt", i, err)
		}
		val[i] ^= 0x10
	}
	other := append([]byte(nil), key...)
	other[fsm.GroupBytes] ^= 1
	if _, err := fsm.Open(other, val); chat.CodeOf(err) != chat.Corrupt {
		t.Errorf("Open under another key = %v, want corrupt", err)
	}
	if _, err := fsm.Open(key, nil); chat.CodeOf(err) != chat.Corrupt {
		t.Errorf("Open of nothing = %v, want corrupt", err)
	}
}

func TestLevelRatchets(t *testing.T) {
	s := fsmtest.NewStore()
	level, err := fsm.ReadLevel(s, 3)
	if level != fsm.Level1 || err != nil {
		t.Fatalf("ReadLevel of a new group = %d, %v, want 1", level, err)
	}
	for _, to := range []fsm.Level{0, 1} {
		if level, err = fsm.ApplyRaiseLevel(s, 3, level, fsm.RaiseLevel{To: to}); level != fsm.Level1 || err != nil {
			t.Errorf("RaiseLevel to %d = %d, %v, want 1", to, level, err)
		}
	}
	if _, err := fsm.ApplyRaiseLevel(s, 3, level, fsm.RaiseLevel{To: fsm.LevelMax + 1}); err == nil {
		t.Error("RaiseLevel beyond what is known succeeded, want a halt")
	}
	key := fsm.LevelKey(3)
	if err := s.Set(key, fsm.Seal(key, []byte{0, 0, 0, 9})); err != nil {
		t.Fatal(err)
	}
	if _, err := fsm.ReadLevel(s, 3); err == nil {
		t.Error("ReadLevel of a level from the future succeeded, want an error")
	}
}
