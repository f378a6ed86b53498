package conv

import (
	"math/rand/v2"
	"testing"

	"github.com/chatnode/chatnode/chat"
)

// TestWindow holds the ring, narrow and widened, against a list of everything.
func TestWindow(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 0))
	id := func(ms int64, n uint64) (c chat.ClientID) {
		for i := range 6 {
			c[i] = byte(ms >> (40 - 8*i))
		}
		c[6] = 0x70
		for i := range 8 {
			c[8+i] = byte(n >> (8 * i))
		}
		return c
	}
	w := newWindow(0)
	var all []recentID
	for seq := chat.Seq(1); seq <= 20_000; seq++ {
		r := recentID{id: id(int64(seq)/10+rng.Int64N(5), rng.Uint64N(3000)), sender: chat.UserID('a' + rune(rng.IntN(2))), seq: seq}
		w.add(r)
		all = append(all, r)
		if rng.IntN(1500) == 0 {
			before := w.most
			if got := w.widen(); before+got != w.most {
				t.Fatalf("seed %d: widen gave %d from %d to %d", seed, got, before, w.most)
			}
		}
		probe := all[rng.IntN(len(all))]
		if rng.IntN(2) == 0 {
			probe = all[max(0, len(all)-1-rng.IntN(w.most))]
		}
		want := chat.Seq(0)
		for _, old := range all[max(0, len(all)-len(w.ids)):] {
			if old.id == probe.id && old.sender == probe.sender {
				want = old.seq
			}
		}
		got := w.find(&probe.id, []byte(probe.sender))
		if got != want {
			t.Fatalf("seed %d: find of %v at %d = %d, want %d (window of %d)", seed, probe, seq, got, want, len(w.ids))
		}
		if got == 0 && w.isNew(&probe.id) {
			t.Fatalf("seed %d: %v of seq %d counts as new", seed, probe.id, probe.seq)
		}
		n := 0
		w.newest(func(r *recentID) bool {
			if *r != all[len(all)-1-n] {
				t.Fatalf("seed %d: newest %d = %v, want %v", seed, n, *r, all[len(all)-1-n])
			}
			n++
			return n < checkpointEvery
		})
	}
	if w.most != windowMax {
		t.Errorf("the window grew to %d, want %d", w.most, windowMax)
	}
}
