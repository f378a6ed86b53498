package fsm_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

func TestGoldenBatch(t *testing.T) {
	var w fsm.BatchWriter
	w.Add(fsmtest.Salt(1), fsm.Encode(nil, fsm.RaiseLevel{To: 1}))
	got := hex.EncodeToString(w.Finish(fsm.Stamp{TimeMS: fsmtest.Epoch}))
	const want = "0153ba75c40100000000505c18a301000001000000050000000000000000000001fffffffffffffffec20c020801"
	if got != want {
		t.Errorf("batch = %s, want %s", got, want)
	}
}

func TestBatchReadsBack(t *testing.T) {
	var w fsm.BatchWriter
	for round, n := range []int{0, 1, 3, fsm.BatchCommandsMax} {
		var want [][]byte
		for i := range n {
			cmd := fsm.Encode(nil, fsm.RaiseLevel{To: fsm.Level(i + 1)})
			if !w.Fits(len(cmd)) {
				t.Fatalf("command %d does not fit", i)
			}
			w.Add(fsmtest.Salt(uint64(i)), cmd)
			want = append(want, cmd)
		}
		if w.Len() != n {
			t.Errorf("Len = %d, want %d", w.Len(), n)
		}
		if n == fsm.BatchCommandsMax && w.Fits(1) {
			t.Error("a full batch has room, want none")
		}
		payload := w.Detach(fsm.Stamp{TimeMS: int64(round)})
		b, err := fsm.ReadBatch(payload)
		if err != nil {
			t.Fatalf("ReadBatch of %d commands = %v, want no error", n, err)
		}
		if b.Count != n || b.Stamp.TimeMS != int64(round) || b.Level != fsm.Level1 {
			t.Errorf("ReadBatch = %+v, want %d commands at %d", b, n, round)
		}
		for i := range want {
			salt, cmd, ok := b.Next()
			if !ok || salt != fsmtest.Salt(uint64(i)) || !bytes.Equal(cmd, want[i]) {
				t.Fatalf("command %d = %x, %v, want %x", i, cmd, ok, want[i])
			}
		}
		if _, _, ok := b.Next(); ok {
			t.Error("a command behind the last, want none")
		}
	}
}

func TestBatchLimits(t *testing.T) {
	var w fsm.BatchWriter
	if !w.Fits(fsm.CommandBytesMax) || w.Fits(fsm.CommandBytesMax+1) {
		t.Error("an empty batch takes exactly commands up to CommandBytesMax")
	}
	w.Add(chat.Salt{}, make([]byte, fsm.BatchBytesMax/2))
	if w.Fits(fsm.BatchBytesMax / 2) {
		t.Error("a second command takes the batch over its limit, want refusal")
	}
	var one fsm.BatchWriter
	one.Add(chat.Salt{}, make([]byte, fsm.CommandBytesMax))
	if _, err := fsm.ReadBatch(one.Finish(fsm.Stamp{})); err != nil {
		t.Errorf("ReadBatch of one command of the largest size = %v, want no error", err)
	}
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	var w fsm.BatchWriter
	w.Add(fsmtest.Salt(1), fsm.Encode(nil, fsmtest.Send("c1", "ann", fsmtest.IDv4(1), "text")))
	w.Add(fsmtest.Salt(2), fsm.Encode(nil, fsm.RaiseLevel{To: 1}))
	payload := w.Finish(fsm.Stamp{TimeMS: 7})
	for i := range payload {
		for bit := range 8 {
			bad := bytes.Clone(payload)
			bad[i] ^= 1 << bit
			if _, err := fsm.ReadBatch(bad); chat.CodeOf(err) != chat.Corrupt {
				t.Fatalf("bit %d of byte %d flipped: %v, want corrupt", bit, i, err)
			}
		}
	}
	for n := range payload {
		if _, err := fsm.ReadBatch(payload[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(payload))
		}
	}
}

func FuzzBatch(f *testing.F) {
	var w fsm.BatchWriter
	w.Add(fsmtest.Salt(1), fsm.Encode(nil, fsm.RaiseLevel{To: 1}))
	f.Add(bytes.Clone(w.Finish(fsm.Stamp{TimeMS: 7})))
	f.Add(bytes.Clone(w.Finish(fsm.Stamp{})))
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, err := fsm.ReadBatch(b)
		if err != nil {
			return
		}
		var again fsm.BatchWriter
		for {
			salt, cmd, ok := batch.Next()
			if !ok {
				break
			}
			again.Add(salt, cmd)
		}
		if back, err := fsm.ReadBatch(again.Finish(batch.Stamp)); err != nil || back.Count != batch.Count {
			t.Fatalf("written again: %v, %d commands, want %d", err, back.Count, batch.Count)
		}
	})
}

func BenchmarkBatch64(b *testing.B) {
	cmd := fsm.Encode(nil, fsmtest.Send("conversation-1", "ann", fsmtest.ID(fsmtest.Epoch, 1), text256))
	b.ReportAllocs()
	var w fsm.BatchWriter
	for b.Loop() {
		w.Reset()
		for range 64 {
			w.Add(chat.Salt{}, cmd)
		}
		batch, err := fsm.ReadBatch(w.Finish(fsm.Stamp{}))
		if err != nil || batch.Count != 64 {
			b.Fatal(err)
		}
	}
}

const text256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" +
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestBatchGrowsOnce(t *testing.T) {
	cmd := fsm.Encode(nil, fsm.RaiseLevel{To: 1})
	const n = 100
	var w fsm.BatchWriter
	allocs := testing.AllocsPerRun(10, func() {
		w.Grow(n, n*len(cmd))
		for range n {
			w.Add(fsmtest.Salt(1), cmd)
		}
		w.Detach(fsm.Stamp{TimeMS: 1})
	})
	if allocs > 2 { // with the race detector making room takes two
		t.Errorf("a batch took %v allocations, want 1", allocs)
	}
}
