package check

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"
)

// world is a true history together with the logs it led to.
type world struct {
	t      *testing.T // of the test that damages it
	h      *History
	finals []Final
}

// plan is what a generated world looks like.
type plan struct {
	seed    uint64
	clients int
	ops     int
	convs   int
	lost    float64 // share of appends whose answer is lost
}

// pending is an operation with the moment at which it takes effect.
type pending struct {
	op    Op
	lin   int64
	gone  bool // the request never arrived
	retry bool
}

// generate makes a true history: each operation takes effect at a random moment
// between its call and its return. The owner is a member of everything from the
// start, guests come and go.
func generate(p plan) *world {
	r := rand.New(rand.NewPCG(p.seed, 1))
	w := &world{h: &History{}}
	for v := range p.convs {
		w.conversation(r, fmt.Sprintf("c%d", v), p)
	}
	for i := range w.h.Ops {
		w.h.Ops[i].ID = int64(i + 1)
	}
	for i := range w.h.Streams {
		w.h.Streams[i].ID = int64(len(w.h.Ops) + i + 1)
	}
	return w
}

func (w *world) conversation(r *rand.Rand, conv string, p plan) {
	log := newLog(conv, r)
	create := Op{Kind: Create, Conv: conv, User: "owner", MsgID: "create", Call: 1, Return: 3}
	for c := range p.clients {
		create.Changes = append(create.Changes, Change{fmt.Sprintf("u%d", c), RoleWriter})
	}
	create.Changes = append(create.Changes, Change{"owner", 4})
	ps := []pending{{op: create, lin: 2}}
	clock, number := make([]int64, p.clients), make([]int64, p.clients)
	again := make([]*Op, p.clients)
	for i := range p.ops {
		cl := i % p.clients
		call := max(clock[cl], 10) + 1 + r.Int64N(200)
		x := pending{lin: call + 1 + r.Int64N(1000)}
		x.op = Op{Kind: Append, Conv: conv, User: fmt.Sprintf("u%d", cl), Device: "d", MsgID: fmt.Sprintf("m%d", i)}
		switch {
		case again[cl] != nil:
			x.op, x.retry, again[cl] = *again[cl], true, nil
		case r.IntN(3) == 0:
			x.op.Kind, x.op.MsgID, x.op.Limit = Read, "", uint64(1+r.IntN(10))
			if r.IntN(4) == 0 {
				x.op.Kind = Stale
			}
		case i%97 == 50: // a guest comes or goes
			role := uint8(RoleWriter)
			if r.IntN(2) == 0 {
				role = 0
			}
			x.op.Kind, x.op.User, x.op.Changes = Members, "owner", []Change{{fmt.Sprintf("guest%d", r.IntN(3)), role}}
		default:
			number[cl]++
			x.op.N = number[cl]
		}
		x.op.Call, x.op.Return = call, x.lin+1+r.Int64N(1000)
		clock[cl] = x.op.Return
		if x.op.Kind == Append && !x.retry && r.Float64() < p.lost {
			retry := x.op
			again[cl], x.op.Outcome, x.gone = &retry, Unknown, r.IntN(2) == 0
		}
		ps = append(ps, x)
	}
	sort.Slice(ps, func(i, j int) bool { return ps[i].lin < ps[j].lin })
	for i := range ps {
		if !ps[i].gone {
			log.do(&ps[i].op, ps[i].lin)
		}
		w.h.Ops = append(w.h.Ops, ps[i].op)
	}
	w.h.Streams = append(w.h.Streams, log.streams(r)...)
	w.finals = append(w.finals, log.final())
}

// truth is the log as it grows.
type truth struct {
	conv    string
	r       *rand.Rand
	entries []Entry
	at      []int64
	ids     map[string]uint64
	msgs    uint64
}

func newLog(conv string, r *rand.Rand) *truth {
	return &truth{conv: conv, r: r, ids: map[string]uint64{}}
}

func (t *truth) do(op *Op, at int64) {
	known := op.Outcome == ""
	if known {
		op.Outcome = OK
	}
	if op.Kind == Read || op.Kind == Stale {
		t.read(op)
		return
	}
	op.Sum = SumOf(op.User, op.MsgID, fmt.Sprint(op.Changes))
	k := key(op.User, op.MsgID)
	seq := t.ids[k]
	if seq == 0 {
		seq = uint64(len(t.entries) + 1)
		t.ids[k] = seq
		e := Entry{Seen: Seen{seq, op.Sum, at / 1000}, MsgID: op.MsgID, Sender: op.User, Device: op.Device, Message: op.Kind == Append, Changes: op.Changes}
		if e.Message {
			t.msgs++
		}
		e.MsgNo, e.Root = t.msgs, fmt.Sprintf("root%d", seq)
		t.entries, t.at = append(t.entries, e), append(t.at, at)
	}
	if known {
		e := t.entries[seq-1]
		op.Seq, op.MsgNo, op.TimeMS, op.Root = seq, e.MsgNo, e.TimeMS, e.Root
	}
}

func (t *truth) read(op *Op) {
	head := uint64(len(t.entries))
	if op.Kind == Stale {
		head -= min(head-1, t.r.Uint64N(5))
	}
	first := head - min(head, op.Limit) + 1
	if t.r.IntN(2) == 0 {
		op.From = 1 + t.r.Uint64N(head)
		first = op.From
	} else if op.Kind == Read {
		op.Head = head
	}
	for s := first; s <= min(head, first+op.Limit-1); s++ {
		op.Entries = append(op.Entries, t.entries[s-1].Seen)
	}
}

// streams follow the log: one of the owner to the end, one of a guest.
func (t *truth) streams(r *rand.Rand) []Stream {
	c := conv{rep: &Report{}, log: t.entries}
	c.intruders()
	var res []Stream
	for _, user := range []string{"owner", "u0", "guest1"} {
		s := Stream{Conv: t.conv, User: user, From: 1, Live: true}
		at := int64(0)
		for _, e := range t.entries {
			if !c.access.visible(user, e.Seq) {
				continue
			}
			at = max(at, t.at[e.Seq-1]) + r.Int64N(20)
			s.Got = append(s.Got, Delivery{e.Seen, at})
		}
		res = append(res, s)
	}
	return res
}

func (t *truth) final() Final {
	f := Final{Conv: t.conv, Replicas: map[string][]Entry{}, Roots: map[string]string{}}
	for _, n := range []string{"n1", "n2", "n3"} {
		f.Replicas[n] = append([]Entry(nil), t.entries...)
		f.Roots[n] = t.entries[len(t.entries)-1].Root
	}
	return f
}
