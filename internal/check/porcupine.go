package check

import (
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// SampleOpsMax bounds the operations of one conversation that porcupine gets: it
// keeps a set of n bits per state, so memory grows with the square.
const SampleOpsMax = 5000

// in and out are what an operation asked and got, in the words of the model.
type in struct {
	write    bool
	conv     string
	id       string
	sum      Sum
	from     uint64
	limit    uint64
	repeated bool // more than one call used this id, so the log is searched for it
}

type out struct {
	seq     uint64 // of a write; 0 = not known
	head    uint64 // named by a read; 0 = not named
	entries []Seen
}

// node is a log as an immutable list, newest first: a state of the model.
type node struct {
	id   string
	sum  Sum
	seq  uint64
	hash uint64
	prev *node
}

func (n *node) head() uint64 {
	if n == nil {
		return 0
	}
	return n.seq
}

func push(n *node, id string, sum Sum) *node {
	seq := n.head() + 1
	var before uint64
	if n != nil {
		before = n.hash
	}
	return &node{id, sum, seq, uint64(SumOf(fmt.Sprint(before, seq, id, uint64(sum)))), n}
}

// model is a sequential conversation log: append answers the next number, a
// repeated id the first one; a read answers a range of the log as it is.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return (*node)(nil) },
		Step: func(st, i, o any) (bool, any) {
			s, i2, o2 := st.(*node), i.(in), o.(out)
			if !i2.write {
				return readFits(s, i2, o2), s
			}
			if i2.repeated {
				for p := s; p != nil; p = p.prev {
					if p.id == i2.id {
						return o2.seq == 0 || o2.seq == p.seq, s
					}
				}
			}
			return o2.seq == 0 || o2.seq == s.head()+1, push(s, i2.id, i2.sum)
		},
		Equal: func(a, b any) bool {
			x, y := a.(*node), b.(*node)
			return x == y || x != nil && y != nil && x.hash == y.hash && x.seq == y.seq
		},
		Hash: func(a any) uint64 {
			if n := a.(*node); n != nil {
				return n.hash
			}
			return 0
		},
		DescribeOperation: describe,
	}
}

func describe(i, o any) string {
	a, b := i.(in), o.(out)
	if a.write {
		return fmt.Sprintf("append %s → %d", a.id, b.seq)
	}
	return fmt.Sprintf("read from %d limit %d → %d entries, head %d", a.from, a.limit, len(b.entries), b.head)
}

func readFits(s *node, i in, o out) bool {
	head := s.head()
	if o.head != 0 && o.head != head {
		return false
	}
	first, last := i.from, min(head, i.from+i.limit-1)
	if i.from == 0 {
		first, last = head-min(head, i.limit)+1, head
	}
	want := 0
	if last >= first {
		want = int(last - first + 1)
	}
	if len(o.entries) != want {
		return false
	}
	for p := s; p != nil && want > 0; p = p.prev {
		if p.seq > last {
			continue
		}
		if e := o.entries[want-1]; e.Seq != p.seq || e.Sum != p.sum {
			return false
		}
		want--
	}
	return want == 0
}

// sample picks the operations of one conversation that the model can judge: up
// to most of them, cut in time, with outcomes that are not known taken from the
// final log or, where it does not hold them either, left out.
func sample(h *History, f Final, most int) []porcupine.Operation {
	c := &conv{name: f.Conv, rep: &Report{}, byID: map[string]uint64{}, called: map[string]int64{}}
	c.replicas(f)
	for i := range h.Ops {
		if h.Ops[i].Conv == f.Conv && h.Ops[i].Outcome != Refused && h.Ops[i].Kind != Stale {
			c.ops = append(c.ops, &h.Ops[i])
		}
	}
	c.dense()
	c.intruders()
	sort.Slice(c.ops, func(i, j int) bool { return c.ops[i].Call < c.ops[j].Call })
	cut := int64(math.MaxInt64)
	if len(c.ops) > most {
		cut = c.ops[most].Call
		c.ops = c.ops[:most]
	}
	steps := c.certain(cut)
	uses := map[string]int{}
	for _, op := range c.ops {
		uses[key(op.User, op.MsgID)]++
	}
	var res []porcupine.Operation
	for n, op := range c.ops {
		if op.Kind == Read {
			if op.Outcome == OK && op.Return < cut && c.access.constant(op.User) {
				ret := op.Return
				if op.Head > 0 {
					ret = narrow(steps, op, op.Head+1)
				}
				res = append(res, porcupine.Operation{ClientId: n, Call: op.Call, Return: ret,
					Input: in{conv: op.Conv, from: op.From, limit: op.Limit}, Output: out{head: op.Head, entries: op.Entries}})
			}
			continue
		}
		k := key(op.User, op.MsgID)
		o, ret := out{seq: op.Seq}, narrow(steps, op, op.Seq)
		if op.Outcome == Unknown || op.Return >= cut {
			at := c.byID[k]
			seen, ok := firstSight(steps, at)
			if at == 0 || !ok {
				continue // without effect in the sample
			}
			o, ret = out{seq: at}, max(seen, op.Call+1)
		}
		res = append(res, porcupine.Operation{ClientId: n, Call: op.Call, Return: ret,
			Input: in{write: true, conv: op.Conv, id: k, sum: op.Sum, repeated: uses[k] > 1}, Output: o})
	}
	return res
}

// certain gives, in the order of time, the moments at which answers before the
// cut showed a higher seq than any answer until then.
func (c *conv) certain(cut int64) []fact {
	facts := c.facts()
	sort.Slice(facts, func(i, j int) bool { return facts[i].at < facts[j].at })
	var steps []fact
	var top uint64
	for _, f := range facts {
		if f.at < cut && f.seq > top {
			top, steps = f.seq, append(steps, f)
		}
	}
	return steps
}

// narrow ends an operation when seq was certain, if it can have happened by then:
// an append has happened when its seq is seen, and a read of a head before the
// next seq is seen. No order is lost by this, but after an outage, when many
// operations are open for long, the search would try their subsets.
func narrow(steps []fact, op *Op, seq uint64) int64 {
	if seen, ok := firstSight(steps, seq); ok && seen > op.Call {
		return min(op.Return, seen)
	}
	return op.Return
}

// firstSight is the moment from which seq was certain. Without it an operation
// of unknown outcome would stay open to the end, and the search explode.
func firstSight(steps []fact, seq uint64) (at int64, ok bool) {
	i := sort.Search(len(steps), func(i int) bool { return steps[i].seq >= seq })
	if i == len(steps) {
		return 0, false
	}
	return steps[i].at, true
}

// Porcupine checks the conversations one after the other until the budget is used
// up and adds what it rejects to rep. page, if not nil, is called with the
// visualisation of a rejected history.
func Porcupine(h *History, finals []Final, budget time.Duration, rep *Report, page func(conv string, info porcupine.LinearizationInfo)) {
	end := time.Now().Add(budget)
	for _, f := range finals {
		left := min(time.Until(end), budget/2)
		if left <= 0 {
			rep.Undecided++
			continue
		}
		ops := sample(h, f, SampleOpsMax)
		res, info := porcupine.CheckOperationsVerbose(model(), ops, left)
		switch res {
		case porcupine.Ok:
			rep.Sampled += len(ops)
		case porcupine.Unknown:
			rep.Undecided++
		case porcupine.Illegal:
			rep.Sampled += len(ops)
			rep.add(NonLin, f.Conv, "no order of its %d operations explains what they saw", len(ops))
			if page != nil {
				page(f.Conv, info)
			}
		}
	}
}

// Visualize writes porcupine's page of one history to path.
func Visualize(info porcupine.LinearizationInfo, path string) error {
	return porcupine.VisualizePath(model(), info, path)
}
