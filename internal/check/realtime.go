package check

import (
	"math"
	"sort"
)

// shows compares what was shown with the log: K3 for readers, and K7 "future".
func (c *conv) shows(what string, id int64, e Seen, at int64) {
	if e.Seq == 0 || e.Seq > c.head() {
		c.bad(Lost, "%s %d showed seq %d, the final log ends at %d", what, id, e.Seq, c.head())
		return
	}
	l := &c.log[e.Seq-1]
	if l.Sum != e.Sum || l.TimeMS != e.TimeMS {
		c.bad(Body, "%s %d showed another entry at seq %d than the final log holds", what, id, e.Seq)
	}
	if t, ok := c.called[key(l.Sender, l.MsgID)]; ok && t > at {
		c.bad(Future, "%s %d showed seq %d before it was sent", what, id, e.Seq)
	}
}

func (c *conv) reads() {
	for _, op := range c.ops {
		if op.Kind != Read && op.Kind != Stale || op.Outcome != OK {
			continue
		}
		for k, e := range op.Entries {
			c.shows("read", op.ID, e, op.Return)
			if k > 0 && c.access.next(op.User, op.Entries[k-1].Seq+1, c.head()) != e.Seq {
				c.bad(Gap, "read %d showed seq %d after %d", op.ID, e.Seq, op.Entries[k-1].Seq)
			}
		}
		if op.Head > c.head() {
			c.bad(Lost, "read %d named head %d, the final log ends at %d", op.ID, op.Head, c.head())
		}
		if n := len(op.Entries); n > 0 && op.From > 0 && c.access.constant(op.User) && op.Entries[0].Seq != op.From {
			c.bad(Gap, "read %d asked from %d and began at %d", op.ID, op.From, op.Entries[0].Seq)
		}
		c.whole(op)
		if op.MinSeq > 0 && c.access.constant(op.User) && newest(op) < op.MinSeq {
			c.bad(StaleR, "read %d asked for at least seq %d and saw head %d", op.ID, op.MinSeq, newest(op))
		}
	}
}

// whole reports a page that leaves out, at either end, what its own head says is
// there. A page that was cut says so, and is then short on the side that it was
// read towards.
func (c *conv) whole(op *Op) {
	if op.Head == 0 || op.Head > c.head() || op.Limit == 0 || !c.access.constant(op.User) {
		return
	}
	first, last := op.From, op.Head
	if op.From == 0 {
		first = op.Head - min(op.Head, op.Limit) + 1
	} else if op.Head >= op.From {
		last = op.From + min(op.Head-op.From, op.Limit-1)
	}
	var want, got uint64 = 0, uint64(len(op.Entries))
	if last >= first {
		want = last - first + 1
	}
	ends := got == 0 || op.Entries[got-1].Seq == last
	cut := op.More && got > 0 && got < want && (ends || op.From > 0)
	if (got != want || !ends) && !cut {
		c.bad(Gap, "read %d showed %d entries where there were %d, from %d to %d (head %d)", op.ID, got, want, first, last, op.Head)
	}
}

// newest is the head of the log as far as a read shows it.
func newest(op *Op) uint64 {
	if op.Head > 0 {
		return op.Head
	}
	if n := len(op.Entries); n > 0 && (op.From == 0 || uint64(n) < op.Limit) {
		return op.Entries[n-1].Seq
	}
	if len(op.Entries) == 0 {
		return max(op.From, 1) - 1
	}
	return math.MaxUint64 // a full page: the head may be anywhere above
}

// delivered is K8.
func (c *conv) delivered() {
	for _, s := range c.streams {
		want := c.access.next(s.User, max(1, s.From), c.head())
		for _, d := range s.Got {
			c.shows("stream", s.ID, d.Seen, d.At)
			switch {
			case want == 0 || d.Seq == want:
			case d.Seq < want:
				c.bad(Repeat, "stream %d delivered seq %d when %d was due", s.ID, d.Seq, want)
				continue
			case c.access.visible(s.User, d.Seq): // else it is reported as a leak
				c.bad(Gap, "stream %d delivered seq %d when %d was due", s.ID, d.Seq, want)
			}
			want = c.access.next(s.User, d.Seq+1, c.head())
		}
		if s.Live && want != 0 {
			c.bad(Gap, "stream %d of %s ended before seq %d (head %d)", s.ID, s.User, want, c.head())
		}
	}
}

// fact is a moment from which seq was certainly in the log.
type fact struct {
	at   int64
	seq  uint64
	what string
	id   int64
}

// realtime is K7: nothing may act on a version older than one that was certain
// before it was called.
func (c *conv) realtime() {
	facts := c.facts()
	sort.Slice(facts, func(i, j int) bool { return facts[i].at < facts[j].at })
	type act struct {
		call int64
		op   *Op
		seq  uint64 // an entry that must lie above the floor; 0 = a read
	}
	var acts []act
	for _, op := range c.ops {
		if op.Kind == Read && op.Outcome == OK && c.access.constant(op.User) {
			acts = append(acts, act{call: op.Call, op: op})
		}
	}
	for i := range c.log {
		if t, ok := c.called[key(c.log[i].Sender, c.log[i].MsgID)]; ok {
			acts = append(acts, act{call: t, seq: c.log[i].Seq})
		}
	}
	sort.Slice(acts, func(i, j int) bool { return acts[i].call < acts[j].call })
	var floor fact
	k := 0
	for _, a := range acts {
		for ; k < len(facts) && facts[k].at < a.call; k++ {
			if facts[k].seq > floor.seq {
				floor = facts[k]
			}
		}
		switch {
		case a.seq != 0 && a.seq <= floor.seq:
			c.bad(Realtime, "seq %d was sent after %s %d had shown seq %d", a.seq, floor.what, floor.id, floor.seq)
		case a.seq == 0 && newest(a.op) < floor.seq:
			c.bad(StaleR, "read %d on %s saw head %d after %s %d had shown seq %d", a.op.ID, a.op.Node, newest(a.op), floor.what, floor.id, floor.seq)
		}
	}
}

func (c *conv) facts() []fact {
	var facts []fact
	for _, op := range c.ops {
		if op.Outcome != OK {
			continue
		}
		seq := max(op.Seq, op.Head)
		if n := len(op.Entries); n > 0 {
			seq = max(seq, op.Entries[n-1].Seq)
		}
		facts = append(facts, fact{op.Return, seq, string(op.Kind), op.ID})
	}
	for _, s := range c.streams {
		for _, d := range s.Got {
			facts = append(facts, fact{d.At, d.Seq, "stream", s.ID})
		}
	}
	return facts
}
