package conv_test

import (
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

const group = 7

var text256 = strings.Repeat("words of chat. ", 17)[:256-1] + "!"

// payloads are b.N messages of one conversation in batches of 64, made before
// the clock starts, one ring of them so that memory stays small.
func payloads(n, convs int) [][]byte {
	var out [][]byte
	id := uint64(0)
	for range n {
		var w fsm.BatchWriter
		for range 64 {
			id++
			c := fsmtest.Send(convName(int(id)%convs), "ann", fsmtest.ID(fsmtest.Epoch+int64(id), id), text256)
			w.Add(fsmtest.Salt(id), fsm.Encode(nil, c))
		}
		out = append(out, w.Finish(fsm.Stamp{TimeMS: fsmtest.Epoch + int64(id)}))
	}
	return out
}

func convName(i int) chat.ConvID {
	return chat.ConvID("conversation-" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
}

func benchApply(b *testing.B, convs int, replay bool, sink fsm.Sink) {
	b.Helper()
	b.ReportAllocs()
	m := conv.New(group, sink)
	void := &fsmtest.Void{}
	l := fsmtest.Log{Machine: m, Store: void}
	for i := range convs {
		l.Must(b, fsmtest.Epoch, fsmtest.Group(convName(i), "ann", fsmtest.ID(fsmtest.Epoch, uint64(1_000_000+i))))
	}
	const ring = 256
	left, next := 0, 0
	var batches [][]byte
	var res []fsm.Result
	for b.Loop() {
		if left == 0 { // new ids: a ring of old ones would be retries
			b.StopTimer()
			left, next = ring*64, 0
			batches = payloads(ring, convs)
			m.Reset()
			for i := range convs {
				l.Must(b, fsmtest.Epoch, fsmtest.Group(convName(i), "ann", fsmtest.ID(fsmtest.Epoch, uint64(1_000_000+i))))
			}
			b.StartTimer()
		}
		if left%64 == 0 {
			var err error
			if replay {
				err = m.Replay(void, 1, batches[next])
			} else {
				res, err = m.Apply(void, 1, batches[next], res[:0])
			}
			if err != nil {
				b.Fatal(err)
			}
			next++
		}
		left--
	}
	if !replay && len(res) > 0 && res[0].Code != chat.OK {
		b.Fatalf("a message was refused: %s", res[0].Code)
	}
}

type lastEntry struct{ seq chat.Seq }

func (s *lastEntry) Appended(e *chat.Entry, _ fsm.MemberView) { s.seq = e.Seq }

// One operation is one message of 256 bytes in a batch of 64.
func BenchmarkApply(b *testing.B) {
	b.Run("conversations=1", func(b *testing.B) { benchApply(b, 1, false, nil) })
	b.Run("conversations=64", func(b *testing.B) { benchApply(b, 64, false, nil) })
	b.Run("conversations=64/sink", func(b *testing.B) { benchApply(b, 64, false, &lastEntry{}) })
	b.Run("conversations=64/replay", func(b *testing.B) { benchApply(b, 64, true, nil) })
}

// filled is a conversation of n messages of 256 bytes.
func filled(tb testing.TB, n int) *fsmtest.Store {
	tb.Helper()
	store := fsmtest.NewStore()
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: store}
	l.Must(tb, fsmtest.Epoch, fsmtest.Group("c1", "ann", fsmtest.ID(fsmtest.Epoch, 0)))
	for i := 1; i < n; i++ {
		l.Must(tb, fsmtest.Epoch+int64(i), fsmtest.Send("c1", "ann", fsmtest.ID(fsmtest.Epoch+int64(i), uint64(i)), text256))
	}
	return store
}

func BenchmarkPage50(b *testing.B) {
	store := filled(b, 5_000)
	q := conv.Query{Conv: "c1", User: "ann", Mode: conv.Before, Seq: 3_000, Limit: 50}
	raw, err := conv.AppendPage(nil, store, group, q)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if raw, err = conv.AppendPage(raw[:0], store, group, q); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p, err := conv.DecodePage(raw); err != nil || len(p.Entries) != 50 {
				b.Fatal(len(p.Entries), err)
			}
		}
	})
}

func BenchmarkProof(b *testing.B) {
	store := filled(b, 5_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conv.ReadProof(store, group, conv.ProofQuery{Conv: "c1", User: "ann", Seq: 1234, OldSize: 4321}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkColdAppend(b *testing.B) {
	store := filled(b, 5_007)
	m := conv.New(group, nil)
	b.ReportAllocs()
	l := fsmtest.Log{Machine: m, Store: store}
	c := fsmtest.Send("c1", "bob", fsmtest.ID(fsmtest.Epoch+1_000_000, 1), text256) // no member: nothing is written
	payload := l.Payload(fsmtest.Epoch, c)
	var res []fsm.Result
	for b.Loop() {
		m.Reset()
		var err error
		if res, err = m.Apply(store, 1, payload, res[:0]); err != nil || res[0].Code != chat.NotFound {
			b.Fatal(res, err)
		}
	}
}
