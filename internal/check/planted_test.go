package check

import (
	"testing"
	"time"
)

// pick gives the first operation from the middle on that fits.
func (w *world) pick(fits func(*Op) bool) *Op {
	w.t.Helper()
	for i := len(w.h.Ops) / 2; i < len(w.h.Ops); i++ {
		if fits(&w.h.Ops[i]) {
			return &w.h.Ops[i]
		}
	}
	w.t.Fatal("the generated history has no such operation")
	return nil
}

func acked(op *Op) bool { return op.Kind == Append && op.Outcome == OK }
func full(op *Op) bool  { return op.Kind == Read && len(op.Entries) > 3 }

// admission gives the call that first made a guest a member of the conversation.
func (w *world) admission(conv string) *Op {
	w.t.Helper()
	for i := range w.h.Ops {
		if op := &w.h.Ops[i]; op.Conv == conv && op.Kind == Members && op.Outcome == OK && op.Changes[0].Role != 0 {
			return op
		}
	}
	w.t.Fatal("the generated history admits nobody")
	return nil
}

// everywhere edits one conversation's log on every replica.
func (w *world) everywhere(conv string, edit func([]Entry) []Entry) {
	for i := range w.finals {
		f := &w.finals[i]
		if f.Conv != conv {
			continue
		}
		for n, log := range f.Replicas {
			f.Replicas[n] = edit(log)
		}
		clear(f.Roots)
	}
}

// remove takes the entry at seq out and closes the gap.
func remove(log []Entry, seq uint64) []Entry {
	res := append([]Entry(nil), log[:seq-1]...)
	for _, e := range log[seq:] {
		e.Seq--
		e.MsgNo--
		res = append(res, e)
	}
	return res
}

// TestPlanted damages a true history in one way at a time. Each damage must be
// found, and under the name of the promise it breaks.
func TestPlanted(t *testing.T) {
	tests := []struct {
		name  string
		want  Rule
		porcu bool // the general checker has to reject it too
		plant func(*world)
	}{
		{"lost at the end", Lost, false, func(w *world) {
			w.everywhere("c0", func(l []Entry) []Entry { return l[:len(l)-1] })
		}},
		{"lost in the middle, renumbered", Lost, true, func(w *world) {
			op := w.pick(acked)
			w.everywhere(op.Conv, func(l []Entry) []Entry { return remove(l, op.Seq) })
		}},
		{"acknowledged another's seq", Ack, true, func(w *world) { w.pick(acked).Seq-- }},
		{"wrong msg_no", Ack, false, func(w *world) { w.pick(acked).MsgNo++ }},
		{"wrong root", Ack, false, func(w *world) { w.pick(acked).Root = "root0" }},
		{"wrong body", Body, true, func(w *world) { w.pick(full).Entries[1].Sum++ }},
		{"body changed in the log", Body, false, func(w *world) {
			op := w.pick(acked)
			w.everywhere(op.Conv, func(l []Entry) []Entry { l[op.Seq-1].Sum++; return l })
		}},
		{"doubled", Doubled, false, func(w *world) {
			w.everywhere("c0", func(l []Entry) []Entry {
				e := l[len(l)-1]
				again := l[len(l)/2]
				again.Seq, again.MsgNo, again.TimeMS = e.Seq+1, e.MsgNo+1, e.TimeMS
				return append(l, again)
			})
		}},
		{"nobody sent it", Phantom, false, func(w *world) {
			w.everywhere("c0", func(l []Entry) []Entry { l[len(l)/2].MsgID = "ghost"; return l })
		}},
		{"refused yet appended", RefusedR, false, func(w *world) {
			op := w.pick(acked)
			op.Outcome, op.Code = Refused, "busy"
		}},
		{"reordered within a device", Order, false, func(w *world) {
			a := w.pick(acked)
			b := w.pick(func(o *Op) bool { return acked(o) && o.User == a.User && o.Conv == a.Conv && o.N > a.N })
			a.N, b.N = b.N, a.N
		}},
		{"number missing", Dense, false, func(w *world) {
			w.everywhere("c0", func(l []Entry) []Entry { return append(l[:len(l)/2], l[len(l)/2+1:]...) })
		}},
		{"time goes back", Dense, false, func(w *world) {
			w.everywhere("c0", func(l []Entry) []Entry { l[len(l)-1].TimeMS = 0; return l })
		}},
		{"gap in a read", Gap, true, func(w *world) {
			op := w.pick(full)
			op.Entries = append(append([]Seen(nil), op.Entries[:1]...), op.Entries[2:]...)
		}},
		{"page ends early", Gap, true, func(w *world) {
			op := w.pick(func(o *Op) bool { return full(o) && o.Head > 0 })
			op.Entries = op.Entries[:len(op.Entries)-1]
		}},
		{"page begins late", Gap, true, func(w *world) {
			op := w.pick(func(o *Op) bool { return full(o) && o.Head > 0 })
			op.Entries = op.Entries[1:]
		}},
		{"page is empty", Gap, true, func(w *world) {
			w.pick(func(o *Op) bool { return full(o) && o.Head > 0 }).Entries = nil
		}},
		{"stale read", StaleR, true, func(w *world) {
			op := w.pick(func(o *Op) bool { return full(o) && o.Head > 0 })
			op.Call, op.Return = op.Call+30_000, op.Return+30_000
		}},
		{"stale under min_seq", StaleR, false, func(w *world) {
			op := w.pick(func(o *Op) bool { return o.Kind == Stale && o.From == 0 })
			op.MinSeq = newest(op) + 1
		}},
		{"read of the future", Future, true, func(w *world) {
			op := w.pick(full)
			op.Call, op.Return = op.Call-30_000, op.Return-30_000
		}},
		{"order against real time", Realtime, true, func(w *world) {
			op := w.pick(func(o *Op) bool { return acked(o) })
			op.Call, op.Return = op.Call+100_000, op.Return+100_000
		}},
		{"gap in a stream", Gap, false, func(w *world) {
			s := &w.h.Streams[0]
			s.Got = append(s.Got[:5], s.Got[6:]...)
		}},
		{"stream stops early", Gap, false, func(w *world) {
			s := &w.h.Streams[0]
			s.Got = s.Got[:len(s.Got)-1]
		}},
		{"repeat in a stream", Repeat, false, func(w *world) {
			s := &w.h.Streams[0]
			s.Got = append(s.Got[:5], s.Got[4:]...)
		}},
		{"stream reordered", Gap, false, func(w *world) {
			g := w.h.Streams[0].Got
			g[5], g[6] = g[6], g[5]
		}},
		{"read by a stranger", Leak, false, func(w *world) { w.pick(full).User = "eve" }},
		{"stream goes on after a removal", Leak, false, func(w *world) {
			w.h.Streams[0].User = "guest1"
		}},
		{"history before the admission", Leak, false, func(w *world) {
			w.everywhere("c0", func(l []Entry) []Entry { l[0].All = true; return l })
			add := w.admission("c0")
			w.h.Ops = append(w.h.Ops, Op{ID: 1 << 40, Kind: Read, Conv: "c0", User: add.Changes[0].User, Outcome: OK,
				Call: add.Call - 2, Return: add.Call - 1, From: 1, Limit: 1, Entries: []Seen{w.finals[0].Replicas["n1"][0].Seen}})
		}},
		{"delivered before the admission", Leak, false, func(w *world) {
			w.everywhere("c0", func(l []Entry) []Entry { l[0].All = true; return l })
			add := w.admission("c0")
			w.h.Streams = append(w.h.Streams, Stream{ID: 1 << 40, Conv: "c0", User: add.Changes[0].User, From: 1,
				Got: []Delivery{{w.finals[0].Replicas["n1"][0].Seen, add.Call - 1}}})
		}},
		{"a member's message turned away", Denied, false, func(w *world) {
			op := *w.pick(acked)
			op.ID, op.MsgID, op.Outcome, op.Code, op.N, op.Seq = 1<<40, "turned away", Refused, "not_found", 0, 0
			w.h.Ops = append(w.h.Ops, op)
		}},
		{"a member's read turned away", Denied, false, func(w *world) {
			op := w.pick(full)
			op.Outcome, op.Code, op.Entries, op.Head = Refused, "not_found", nil, 0
		}},
		{"append by a stranger", Intruder, false, func(w *world) {
			op := w.pick(acked)
			op.User = "eve"
			w.everywhere(op.Conv, func(l []Entry) []Entry { l[op.Seq-1].Sender = "eve"; return l })
		}},
		{"one replica is short", Replicas, false, func(w *world) {
			f := w.finals[0].Replicas
			f["n3"] = f["n3"][:len(f["n3"])-1]
		}},
		{"one replica differs", Replicas, false, func(w *world) { w.finals[0].Replicas["n2"][7].Sum++ }},
		{"one replica states another root", Replicas, false, func(w *world) { w.finals[0].Roots["n2"] = "x" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := generate(plan{seed: 7, clients: 10, ops: 800, convs: 2, lost: 0.01})
			w.t = t
			tt.plant(w)
			rep := Sweep(w.h, w.finals, nil)
			if !rep.Has(tt.want) {
				t.Errorf("the sweep did not find %q: %s", tt.want, rep)
			}
			if tt.porcu {
				second := &Report{}
				Porcupine(w.h, w.finals, time.Minute, second, nil)
				if !second.Has(NonLin) {
					t.Error("porcupine accepts the damaged history")
				}
			}
		})
	}
}

func TestHashesDiffer(t *testing.T) {
	rep := Sweep(&History{}, nil, []Hashes{{Group: "3", Replicas: map[string]string{"n1": "a", "n2": "a", "n3": "b"}}})
	if !rep.Has(Replicas) {
		t.Error("an unequal state hash was not found")
	}
}
