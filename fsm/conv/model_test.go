package conv_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/merkle"
)

// replica is a machine with its rows; restarts makes it forget its memory in
// between, replay makes it apply without results.
type replica struct {
	log      fsmtest.Log
	restarts int // one in so many batches
	replay   bool
	group    uint32
}

func newReplica(group uint32, restarts int, replay bool) *replica {
	return &replica{
		log:      fsmtest.Log{Machine: conv.New(group, nil), Store: fsmtest.NewStore()},
		restarts: restarts, replay: replay, group: group,
	}
}

func (r *replica) print(t *testing.T) chat.Hash {
	t.Helper()
	h, err := r.log.Machine.Fingerprint(r.log.Store)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestMachineEqualsModel gives drawn commands to four replicas: one that keeps
// its memory, one that restarts often, and two followers in other groups, of which
// one restarts before each batch. The first one's answers and pages are the
// model's, and all four hold the same state at the end.
func TestMachineEqualsModel(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			g := fsmtest.NewGenerator(seed)
			model := fsmtest.NewModel()
			replicas := []*replica{newReplica(group, 0, false), newReplica(group, 3, false), newReplica(9, 1, true), newReplica(11, 0, true)}
			salt := uint64(0)
			var first, second []fsm.Result
			for range 700 {
				at := g.Tick()
				var w fsm.BatchWriter
				var cmds []fsm.Command
				for range 1 + g.Intn(4) {
					cmds = append(cmds, g.Next())
					salt++
					w.Add(fsmtest.Salt(salt), fsm.Encode(nil, cmds[len(cmds)-1]))
				}
				payload := w.Finish(fsm.Stamp{TimeMS: at})
				first = apply(t, g, replicas[0], payload)
				second = apply(t, g, replicas[1], payload)
				apply(t, g, replicas[2], payload)
				apply(t, g, replicas[3], payload)
				for i, c := range cmds {
					if err := model.Check(at, fsmtest.Salt(salt-uint64(len(cmds)-1-i)), c, first[i]); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(first, second); diff != "" {
					t.Fatalf("a replica that restarts answers otherwise (-want +got):\n%s", diff)
				}
				if g.Intn(20) == 0 {
					checkReads(t, g, model, replicas[g.Intn(3)])
				}
			}
			want := replicas[0].print(t)
			for i, r := range replicas[1:] {
				if got := r.print(t); got != want {
					t.Errorf("fingerprint of replica %d = %x, want %x", i+1, got, want)
				}
			}
			total := 0
			for _, n := range model.Names() {
				total += len(model.Convs[n].Entries)
			}
			if total < 300 {
				t.Errorf("only %d entries were written: the generator draws too many refusals", total)
			}
		})
	}
}

func apply(t *testing.T, g *fsmtest.Generator, r *replica, payload []byte) []fsm.Result {
	t.Helper()
	if r.restarts > 0 && g.Intn(r.restarts) == 0 {
		r.log.Machine.Reset()
	}
	if r.replay {
		if err := r.log.Machine.Replay(r.log.Store, 1, payload); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	res, err := r.log.Machine.Apply(r.log.Store, 1, payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

var sameEntries = cmp.Options{cmpopts.EquateEmpty()}

// checkReads compares a drawn page, the info and a proof with the model.
func checkReads(t *testing.T, g *fsmtest.Generator, model *fsmtest.Model, r *replica) {
	t.Helper()
	names := model.Names()
	if len(names) == 0 {
		return
	}
	name := names[g.Intn(len(names))]
	c, user := model.Convs[name], g.User()
	seen := c.Visible(user)
	q := conv.Query{
		Conv: name, User: user, Mode: conv.Mode(g.Intn(4)), Seq: chat.Seq(g.Intn(len(c.Entries) + 3)), Limit: 1 + g.Intn(40),
	}
	p, err := conv.ReadPage(r.log.Store, r.group, q)
	if len(seen) == 0 {
		if chat.CodeOf(err) != chat.NotFound {
			t.Fatalf("ReadPage(%+v) of a stranger = %v, want not_found", q, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("ReadPage(%+v) = %v, want no error", q, err)
	}
	want := expectPage(q, seen)
	if diff := cmp.Diff(want, p.Entries, sameEntries); diff != "" {
		t.Fatalf("ReadPage(%+v) (-want +got):\n%s", q, diff)
	}
	if p.Head != seen[len(seen)-1].Seq || p.MsgNo != seen[len(seen)-1].MsgNo {
		t.Fatalf("ReadPage(%+v) has head %d, msg_no %d, want those of %+v", q, p.Head, p.MsgNo, seen[len(seen)-1])
	}
	if n := len(p.Entries); n > 0 {
		before, after := seen[0].Seq < p.Entries[0].Seq, seen[len(seen)-1].Seq > p.Entries[n-1].Seq
		if p.Before != before || p.After != after {
			t.Fatalf("ReadPage(%+v) says before %v, after %v, want %v, %v", q, p.Before, p.After, before, after)
		}
	}
	checkInfo(t, c, name, user, r)
	checkProof(t, g, c, name, user, seen, r)
}

// expectPage picks a page out of the entries that a user may see.
func expectPage(q conv.Query, seen []chat.Entry) []chat.Entry {
	at := len(seen) // of the first at or above the seq
	for i, e := range seen {
		if e.Seq >= q.Seq {
			at = i
			break
		}
	}
	lo, hi := 0, len(seen)
	switch q.Mode {
	case conv.Latest:
		lo = hi - min(q.Limit, hi)
	case conv.Before:
		hi = at
		lo = hi - min(q.Limit, hi)
	case conv.After:
		lo = at
		if at < len(seen) && seen[at].Seq == q.Seq {
			lo++
		}
		hi = min(lo+q.Limit, hi)
	case conv.Around:
		lo = at - min(q.Limit/2, at)
		hi = min(at+q.Limit-(at-lo), hi)
		lo = hi - min(q.Limit, hi)
	}
	return seen[lo:hi]
}

func checkInfo(t *testing.T, c *fsmtest.Conversation, name chat.ConvID, user chat.UserID, r *replica) {
	t.Helper()
	in, err := conv.ReadInfo(r.log.Store, r.group, name, user)
	all := c.Standings()
	if all[user].Role == chat.NoRole {
		if chat.CodeOf(err) != chat.NotFound {
			t.Fatalf("ReadInfo of a former member = %v, want not_found", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	last := c.Entries[len(c.Entries)-1]
	if in.Head != last.Seq || in.MsgNo != last.MsgNo || in.TimeMS != last.TimeMS || in.Root != c.Root(len(c.Entries)) || in.Role != all[user].Role {
		t.Fatalf("ReadInfo(%s) = %+v, want the head %+v", name, in, last)
	}
	n := 0
	for _, s := range all {
		if s.Role != chat.NoRole {
			n++
		}
	}
	if in.MemberCount != n || len(in.Members) != n {
		t.Fatalf("ReadInfo(%s) has %d members, lists %d, want %d", name, in.MemberCount, len(in.Members), n)
	}
	for _, m := range in.Members {
		if s := all[m.User]; s == nil || s.Role != m.Role || s.Seq != m.Seq {
			t.Fatalf("ReadInfo(%s) lists %+v, want %+v", name, m, s)
		}
	}
	back, err := conv.DecodeInfo(conv.AppendInfo(nil, &in))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, back); diff != "" {
		t.Fatalf("info over the wire (-want +got):\n%s", diff)
	}
}

func checkProof(t *testing.T, g *fsmtest.Generator, c *fsmtest.Conversation, name chat.ConvID, user chat.UserID, seen []chat.Entry, r *replica) {
	t.Helper()
	e := &seen[g.Intn(len(seen))]
	head := seen[len(seen)-1].Seq
	q := conv.ProofQuery{Conv: name, User: user, Seq: e.Seq, OldSize: chat.Seq(1 + g.Intn(int(head)))}
	p, err := conv.ReadProof(r.log.Store, r.group, q)
	if err != nil {
		t.Fatalf("ReadProof(%+v) = %v, want no error", q, err)
	}
	if p.Size != head || p.Root != c.Root(int(head)) || p.OldRoot != c.Root(int(q.OldSize)) || p.Leaf != chat.LeafHash(e) {
		t.Fatalf("ReadProof(%+v) is about another tree", q)
	}
	if err := merkle.VerifyInclusion(p.Leaf, uint64(p.Seq-1), uint64(p.Size), p.Inclusion, p.Root); err != nil {
		t.Fatalf("inclusion of %+v: %v", q, err)
	}
	if err := merkle.VerifyConsistency(uint64(p.OldSize), uint64(p.Size), p.OldRoot, p.Root, p.Consistency); err != nil {
		t.Fatalf("consistency of %+v: %v", q, err)
	}
	back, err := conv.DecodeProof(p.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, back, sameEntries); diff != "" {
		t.Fatalf("proof over the wire (-want +got):\n%s", diff)
	}
}
