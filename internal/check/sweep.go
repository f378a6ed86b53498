package check

import (
	"sort"
)

// conv is the check of one conversation.
type conv struct {
	name    string
	rep     *Report
	log     []Entry // of the first replica; replicas() reports others that differ
	ops     []*Op
	streams []*Stream
	byID    map[string]uint64 // sender/client id → place in the log, which is the seq unless K1 is broken
	called  map[string]int64  // sender/client id → first call
	access  access
}

func (c *conv) bad(rule Rule, format string, args ...any) { c.rep.add(rule, c.name, format, args...) }
func (c *conv) head() uint64                              { return uint64(len(c.log)) }

func key(user, msgID string) string { return user + "/" + msgID }

// Sweep checks the history against the final logs and the state hashes.
func Sweep(h *History, finals []Final, hashes []Hashes) *Report {
	rep := &Report{}
	convs := map[string]*conv{}
	get := func(name string) *conv {
		c := convs[name]
		if c == nil {
			c = &conv{name: name, rep: rep, byID: map[string]uint64{}, called: map[string]int64{}}
			convs[name] = c
		}
		return c
	}
	for i := range h.Ops {
		op := &h.Ops[i]
		count(rep, op)
		c := get(op.Conv)
		c.ops = append(c.ops, op)
	}
	for i := range h.Streams {
		s := &h.Streams[i]
		rep.Deliveries += len(s.Got)
		c := get(s.Conv)
		c.streams = append(c.streams, s)
	}
	for _, f := range finals {
		get(f.Conv).replicas(f)
	}
	names := make([]string, 0, len(convs))
	for name := range convs {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		convs[name].check()
	}
	for _, g := range hashes {
		rep.Hashes += len(g.Replicas)
		agree(rep, "group "+g.Group, "state hash", g.Replicas)
	}
	return rep
}

func count(rep *Report, op *Op) {
	rep.Ops++
	switch {
	case op.Outcome == Unknown:
		rep.Unknown++
	case op.Outcome == Refused:
		rep.Refused++
	case op.Kind == Read:
		rep.Reads++
	case op.Kind == Stale:
		rep.StaleReads++
	default:
		rep.Acked++
	}
}

func (c *conv) check() {
	c.rep.Convs++
	c.rep.Entries += len(c.log)
	for _, op := range c.ops {
		if op.MsgID == "" {
			continue
		}
		k := key(op.User, op.MsgID)
		if t, ok := c.called[k]; !ok || op.Call < t {
			c.called[k] = op.Call
		}
	}
	c.dense()
	c.intruders()
	c.acks()
	c.senders()
	c.reads()
	c.leaks()
	c.denials()
	c.delivered()
	c.realtime()
}

// replicas takes the first replica's log as the log and compares the others.
func (c *conv) replicas(f Final) {
	names := make([]string, 0, len(f.Replicas))
	for name := range f.Replicas {
		names = append(names, name)
	}
	sort.Strings(names)
	for i, name := range names {
		log := f.Replicas[name]
		c.rep.Logs++
		if i == 0 {
			c.log = log
			continue
		}
		if len(log) != len(c.log) {
			c.bad(Replicas, "%s holds %d entries, %s holds %d", name, len(log), names[0], len(c.log))
		}
		for k := range min(len(log), len(c.log)) {
			a, b := &log[k], &c.log[k]
			if a.Seen != b.Seen || a.MsgID != b.MsgID || a.MsgNo != b.MsgNo || a.Root != b.Root {
				c.bad(Replicas, "%s and %s differ at seq %d: %s and %s", name, names[0], k+1, a.MsgID, b.MsgID)
				break
			}
		}
	}
	agree(c.rep, c.name, "root", f.Roots)
	if n := len(c.log); n > 0 && c.log[n-1].Root != "" {
		for _, name := range names {
			if r, ok := f.Roots[name]; ok && r != c.log[n-1].Root {
				c.bad(Replicas, "%s states root %s, its entries give %s", name, r, c.log[n-1].Root)
			}
		}
	}
}

func agree(rep *Report, what, noun string, values map[string]string) {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names[min(1, len(names)):] {
		if values[name] != values[names[0]] {
			rep.add(Replicas, what, "%s of %s is %s, of %s %s", noun, name, values[name], names[0], values[names[0]])
		}
	}
}

// dense is K1, K4 and the half of K5 that asks who sent an entry.
func (c *conv) dense() {
	var msgs uint64
	var at int64
	for i := range c.log {
		e := &c.log[i]
		if e.Seq != uint64(i+1) {
			c.bad(Dense, "place %d holds seq %d", i+1, e.Seq)
		}
		if e.Message {
			msgs++
		}
		if e.MsgNo != msgs {
			c.bad(Dense, "seq %d has msg_no %d, want %d", e.Seq, e.MsgNo, msgs)
		}
		if e.TimeMS < at {
			c.bad(Dense, "time goes back from %d to %d at seq %d", at, e.TimeMS, e.Seq)
		}
		at = max(at, e.TimeMS)
		k := key(e.Sender, e.MsgID)
		if first, ok := c.byID[k]; ok {
			c.bad(Doubled, "client id %s of %s is at seq %d and again at %d", e.MsgID, e.Sender, first, e.Seq)
			continue
		}
		c.byID[k] = uint64(i + 1)
		if _, ok := c.called[k]; !ok {
			c.bad(Phantom, "seq %d holds client id %s of %s, which nobody sent", e.Seq, e.MsgID, e.Sender)
		}
	}
}

// acks is K3 and the other half of K5.
func (c *conv) acks() {
	for _, op := range c.ops {
		if op.MsgID == "" || op.Outcome == Unknown {
			continue
		}
		at, in := c.byID[key(op.User, op.MsgID)]
		switch {
		case op.Outcome == Refused && in && !c.ackedElsewhere(op):
			c.bad(RefusedR, "op %d (%s) was refused with %s and is at seq %d", op.ID, op.Kind, op.Code, at)
		case op.Outcome == Refused:
		case !in:
			c.bad(Lost, "op %d (%s %s of %s) was acknowledged at seq %d and is not in the log", op.ID, op.Kind, op.MsgID, op.User, op.Seq)
		case at != op.Seq:
			c.bad(Ack, "op %d (%s) was acknowledged at seq %d and is at %d", op.ID, op.MsgID, op.Seq, at)
		default:
			c.ackFields(op, &c.log[at-1])
		}
	}
}

func (c *conv) ackFields(op *Op, e *Entry) {
	if op.Sum != e.Sum {
		c.bad(Body, "seq %d holds another body than op %d sent", e.Seq, op.ID)
	}
	if op.MsgNo != 0 && op.MsgNo != e.MsgNo {
		c.bad(Ack, "op %d was acknowledged with msg_no %d, the log says %d", op.ID, op.MsgNo, e.MsgNo)
	}
	if op.TimeMS != 0 && op.TimeMS != e.TimeMS {
		c.bad(Ack, "op %d was acknowledged with time %d, the log says %d", op.ID, op.TimeMS, e.TimeMS)
	}
	if op.Root != "" && e.Root != "" && op.Root != e.Root {
		c.bad(Ack, "op %d was acknowledged under root %s, the log gives %s", op.ID, op.Root, e.Root)
	}
}

// ackedElsewhere reports whether another attempt with the same id may explain
// why a refused one is in the log.
func (c *conv) ackedElsewhere(op *Op) bool {
	for _, o := range c.ops {
		if o != op && o.MsgID == op.MsgID && o.User == op.User && o.Outcome != Refused {
			return true
		}
	}
	return false
}

// senders is K6.
func (c *conv) senders() {
	place := map[string]int64{} // sender/client id → N
	for _, op := range c.ops {
		if op.N > 0 {
			place[key(op.User, op.MsgID)] = op.N
		}
	}
	type device struct{ user, device string }
	last := map[device]int64{}
	for i := range c.log {
		e := &c.log[i]
		n := place[key(e.Sender, e.MsgID)]
		if n == 0 {
			continue
		}
		d := device{e.Sender, e.Device}
		if n < last[d] {
			c.bad(Order, "seq %d is number %d of %s/%s, after its number %d", e.Seq, n, e.Sender, e.Device, last[d])
		}
		last[d] = max(last[d], n)
	}
}
