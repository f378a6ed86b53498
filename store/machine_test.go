package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/store"
)

// replica is a conversation machine over a state of its own.
type replica struct {
	t      *testing.T
	fs     vfs.FS
	rng    *rand.Rand
	dir    string
	follow bool // it applies without results
	s      *store.State
	g      *store.GroupState
	m      *conv.Machine
}

const machineGroup = 1

func (r *replica) open() {
	r.t.Helper()
	s, err := store.OpenState(r.dir, store.StateOptions{
		FS: r.fs, BufferBytes: 400 << 10, CacheBytes: 1 << 20, Number: conv.EntryNumber,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.s, r.g, r.m = s, group(r.t, s, machineGroup), conv.New(machineGroup, nil)
}

func (r *replica) close() {
	r.t.Helper()
	if err := r.s.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// apply applies entries in one batch.
func (r *replica) apply(index uint64, payloads [][]byte) (all []fsm.Result) {
	r.t.Helper()
	b := r.g.Begin()
	defer b.Close()
	for _, p := range payloads {
		var err error
		if r.follow {
			err = r.m.Replay(b, index, p)
		} else {
			all, err = r.m.Apply(b, index, p, all)
		}
		if err != nil {
			r.t.Fatal(err)
		}
		index++
	}
	if err := b.Commit(index-1, 1); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// disturb flushes, merges, starts the replica anew or lets its machine forget.
func (r *replica) disturb() {
	r.t.Helper()
	var err error
	switch r.rng.IntN(12) {
	case 0:
		err = r.g.Barrier()
	case 1:
		if r.rng.IntN(4) == 0 {
			err = store.Merge(r.s)
		}
	case 2:
		r.close()
		r.open()
	case 3:
		r.m.Reset()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// check wants the rows of a machine that nothing disturbed, and what is read from them.
func (r *replica) check(want fsm.Reader) {
	r.t.Helper()
	v, err := r.g.View()
	if err != nil {
		r.t.Fatal(err)
	}
	defer v.Close()
	if got, want := fingerprint(r.t, v), fingerprint(r.t, want); got != want {
		r.t.Fatalf("fingerprint %x, want %x", got, want)
	}
	if _, err := conv.Verify(v, machineGroup); err != nil {
		r.t.Fatal(err)
	}
	users := []chat.UserID{"ann", "bob", "cy", "dee", "eve"}
	for range 20 {
		user := users[r.rng.IntN(len(users))]
		ids := []chat.ConvID{"g1", "g2", "ch", chat.DirectID(user, users[r.rng.IntN(len(users))])}
		id := ids[r.rng.IntN(len(ids))]
		seq := func() chat.Seq { return chat.Seq(r.rng.IntN(400)) }
		page := conv.Query{
			Conv: id, User: user, All: r.rng.IntN(4) == 0, Mode: conv.Mode(r.rng.IntN(4)), Seq: seq(),
			Limit: r.rng.IntN(220), Bytes: r.rng.IntN(3) * 2000,
		}
		proof := conv.ProofQuery{Conv: id, User: user, Size: seq(), Seq: seq(), OldSize: seq()}
		alike(r.t, v, want, func(x fsm.Reader) (any, error) { return conv.ReadPage(x, machineGroup, page) })
		alike(r.t, v, want, func(x fsm.Reader) (any, error) { return conv.ReadProof(x, machineGroup, proof) })
		alike(r.t, v, want, func(x fsm.Reader) (any, error) { return conv.ReadInfo(x, machineGroup, id, user) })
	}
}

func fingerprint(t *testing.T, r fsm.Reader) chat.Hash {
	t.Helper()
	h, err := conv.New(machineGroup, nil).Fingerprint(r)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func alike(t *testing.T, got, want fsm.Reader, read func(fsm.Reader) (any, error)) {
	t.Helper()
	a, errA := read(got)
	b, errB := read(want)
	if chat.CodeOf(errA) != chat.CodeOf(errB) {
		t.Fatalf("%v, want %v", errA, errB)
	}
	if diff := cmp.Diff(b, a); diff != "" {
		t.Fatalf("reads differ (-want +got):\n%s", diff)
	}
}

// TestMachineOverState holds a leader and a follower, which are flushed, merged and
// started anew, and replicas that came by snapshot and go on as the follower, against
// a machine that keeps its memory over rows in a map. Many strangers ask for refusals.
func TestMachineOverState(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			rng, gen, fs := rand.New(rand.NewPCG(seed, 77)), fsmtest.NewGenerator(seed), vfs.NewMem()
			want := fsmtest.Log{Machine: conv.New(machineGroup, nil), Store: fsmtest.NewStore()}
			leader := &replica{t: t, fs: fs, rng: rng, dir: "leader"}
			follower := &replica{t: t, fs: fs, rng: rng, dir: "follower", follow: true}
			next := &replica{t: t, fs: fs, rng: rng, dir: "next", follow: true}
			for _, r := range []*replica{leader, follower, next} {
				r.open()
				defer r.close()
			}
			index, salt := uint64(1), uint64(0)
			for round := range 150 {
				payloads, results := draw(t, rng, gen, &want, &salt)
				if diff := cmp.Diff(results, leader.apply(index, payloads)); diff != "" {
					t.Fatalf("round %d: the results differ (-want +got):\n%s", round, diff)
				}
				follower.apply(index, payloads)
				index += uint64(len(payloads))
				leader.disturb()
				follower.disturb()
				if round%29 == 28 {
					if err := install(next.g, stream(t, leader.g), 1<<20); err != nil {
						t.Fatal(err)
					}
					next.m.Reset()
					follower, next = next, follower
				}
				if round%15 == 14 || round%29 == 28 {
					leader.check(want.Store)
					follower.check(want.Store)
				}
			}
		})
	}
}

// draw makes some entries of the log and applies them to the machine that is right.
func draw(t *testing.T, rng *rand.Rand, gen *fsmtest.Generator, want *fsmtest.Log, salt *uint64) (payloads [][]byte, results []fsm.Result) {
	t.Helper()
	for range 1 + rng.IntN(3) {
		var w fsm.BatchWriter
		at := gen.Tick()
		for range 1 + rng.IntN(8) {
			*salt++
			c := gen.Next()
			if rng.IntN(3) == 0 {
				stranger := chat.UserID(fmt.Sprintf("x%d", rng.IntN(1200)))
				c = fsmtest.Send("g1", stranger, fsmtest.ID(at, 1<<40+*salt), "hi")
			}
			w.Add(fsmtest.Salt(*salt), fsm.Encode(nil, c))
		}
		p := w.Detach(fsm.Stamp{TimeMS: at})
		res, err := want.Machine.Apply(want.Store, 1, p, results)
		if err != nil {
			t.Fatal(err)
		}
		payloads, results = append(payloads, p), res
	}
	return payloads, results
}
