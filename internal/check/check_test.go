package check

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTrueHistories: what really happened is accepted by both checkers, whatever
// its shape.
func TestTrueHistories(t *testing.T) {
	for seed := uint64(1); seed <= 16; seed++ {
		p := plan{seed: seed, clients: 2 + int(seed)%19, ops: 350, convs: 1 + int(seed)%4, lost: float64(seed%5) / 50}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			w := generate(p)
			rep := Sweep(w.h, w.finals, nil)
			Porcupine(w.h, w.finals, time.Minute, rep, nil)
			if !rep.OK() {
				t.Errorf("%+v: %s", p, rep)
			}
			if rep.Sampled == 0 || rep.Acked == 0 || rep.Reads == 0 || rep.Deliveries == 0 {
				t.Errorf("checked nothing: %s", rep)
			}
		})
	}
}

// TestSampleIsCut: a conversation beyond the bound is cut in time, and the cut
// history is still true.
func TestSampleIsCut(t *testing.T) {
	const most = 600
	for seed := range uint64(4) {
		w := generate(plan{seed: seed, clients: 20, ops: 3 * most / 2, convs: 1, lost: 0.02})
		ops := sample(w.h, w.finals[0], most)
		if len(ops) > most || len(ops) < most/2 {
			t.Errorf("seed %d: a sample of %d operations, want at most %d", seed, len(ops), most)
		}
		if !porcupine.CheckOperations(model(), ops) {
			t.Errorf("seed %d: the cut history is rejected", seed)
		}
	}
}

// record plays a history into a recorder.
func record(t *testing.T, h *History) string {
	t.Helper()
	var b bytes.Buffer
	r := NewRecorder(&b)
	for i := range h.Ops {
		op := h.Ops[i]
		ask := Op{Kind: op.Kind, Conv: op.Conv, User: op.User, Device: op.Device, Call: op.Call, MsgID: op.MsgID, N: op.N,
			Sum: op.Sum, Changes: op.Changes, From: op.From, Limit: op.Limit, MinSeq: op.MinSeq}
		r.Invoke(&ask)
		if op.Outcome != Unknown {
			op.ID = ask.ID
			r.Return(&op)
		}
	}
	for _, s := range h.Streams {
		r.Open(&s)
		for _, d := range s.Got {
			r.Deliver(s.ID, d)
		}
		if s.Live {
			r.Live(s.ID)
		}
	}
	r.Note(Note{At: 5, Text: "healed"})
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRecorderRoundTrip(t *testing.T) {
	w := generate(plan{seed: 5, clients: 5, ops: 400, convs: 2, lost: 0.1})
	text := record(t, w.h)
	got, err := ReadHistory(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	w.h.Notes = []Note{{At: 5, Text: "healed"}}
	for i := range w.h.Ops {
		if w.h.Ops[i].Outcome == Unknown { // a call without a return keeps no return
			w.h.Ops[i].Return = 0
		}
	}
	if d := cmp.Diff(w.h, got); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
	if rep := Sweep(got, w.finals, nil); !rep.OK() {
		t.Errorf("the history that was read back: %s", rep)
	}
	cut, err := ReadHistory(strings.NewReader(text[:len(text)*2/3]))
	if err != nil || len(cut.Ops) == 0 {
		t.Errorf("a file cut off by a crash: %d operations, %v", len(cut.Ops), err)
	}
}

func FuzzReadHistory(f *testing.F) {
	f.Add(`{"invoke":{"id":1,"kind":"append","conv":"c","user":"u","call":1,"msg":"m"}}` + "\n" + `{"return":{"id":1,"outcome":"ok","seq":1}}`)
	f.Add(`{"open":{"id":1,"conv":"c","user":"u","from":1}}` + "\n" + `{"deliver":{"stream":1,"got":{"s":1,"h":2,"ms":3,"t":4}}}`)
	f.Add(`{"return":{"id":9}}`)
	f.Add(`{"note":{"t":1,"text":"x"}}{`)
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ReadHistory(strings.NewReader(text))
		if err == nil {
			Sweep(h, nil, nil)
		}
	})
}

func BenchmarkSweep(b *testing.B) {
	w := generate(plan{seed: 1, clients: 20, ops: 100_000, convs: 1})
	b.ReportAllocs()
	for b.Loop() {
		if rep := Sweep(w.h, w.finals, nil); !rep.OK() {
			b.Fatal(rep)
		}
	}
}
