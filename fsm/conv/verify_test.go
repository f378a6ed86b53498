package conv_test

import (
	"bytes"
	"testing"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

// TestVerifyFindsWhatChecksumsDoNot changes rows and seals them again, as a fault
// of the program would, and removes rows.
func TestVerifyFindsWhatChecksumsDoNot(t *testing.T) {
	l, s := room(t)
	for i := range uint64(40) {
		l.Must(t, now+10, fsmtest.Send("g", "bob", id(10+i), "text"))
	}
	l.Must(t, now, fsmtest.Group("h", "ann", id(1)))
	got, err := conv.Verify(s, group)
	if want := (conv.Verified{Conversations: 2, Entries: 45}); err != nil || got != want {
		t.Fatalf("Verify = %+v, %v, want %+v", got, err, want)
	}
	var keys, vals [][]byte
	if err := s.Scan(nil, []byte{0xff}, false, func(k, v []byte) (bool, error) {
		keys, vals = append(keys, bytes.Clone(k)), append(vals, bytes.Clone(v))
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		kind, val := k[21], vals[i][:len(vals[i])-fsm.SumBytes]
		if kind == 0x02 && (k[29] > 32 || len(keys)-i < 8) {
			continue // entries behind the last checkpoint: the next one will hold them fast
		}
		if err := s.Delete(k); err != nil {
			t.Fatal(err)
		}
		if _, err := conv.Verify(s, group); err == nil {
			t.Errorf("row %x is missing, but Verify is content", k)
		}
		bad := bytes.Clone(val)
		bad[kindSpot(kind)] ^= 1
		if err := s.Set(k, fsm.Seal(k, bad)); err != nil {
			t.Fatal(err)
		}
		if _, err := conv.Verify(s, group); err == nil {
			t.Errorf("row %x is another, but Verify is content", k)
		}
		if err := s.Set(k, vals[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conv.Verify(s, group); err != nil {
		t.Errorf("Verify of the rows put back = %v, want no error", err)
	}
}

func TestVerifyDrawnState(t *testing.T) {
	g := fsmtest.NewGenerator(5)
	s := fsmtest.NewStore()
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: s}
	for range 1_500 {
		if _, err := l.Apply(g.Tick(), g.Next(), g.Next()); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := conv.Verify(s, group); err != nil || got.Entries < 500 {
		t.Errorf("Verify = %+v, %v, want hundreds of entries and no error", got, err)
	}
}

// kindSpot is a byte of a row of some kind that other rows tell of: the id of a
// conversation, the time of an entry, a role, the seq of an id, the number of refusals.
func kindSpot(kind byte) int {
	return map[byte]int{0x01: 1, 0x02: 4, 0x03: 0, 0x05: 0, 0x06: 0}[kind]
}
