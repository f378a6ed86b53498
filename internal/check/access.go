package check

import "math"

// access is who may see and do what, derived from the log itself.
type access struct {
	all   bool                  // newcomers may read all history
	spans map[string][]interval // user → memberships in order
}

// interval is one membership: from the entry that added to the one that
// removed, both visible. to is 0 while it lasts.
type interval struct {
	from, to uint64
	asked    int64 // when the entry that added was first sent; the least number when nobody sent it
	ended    int64 // when the one that removed was; the greatest number while the membership lasts
	low      uint8 // the lowest role meanwhile
}

// intruders builds the memberships and reports entries whose sender had no
// right to append them.
func (c *conv) intruders() {
	c.access.spans = map[string][]interval{}
	roles := map[string]uint8{}
	for i := range c.log {
		e := &c.log[i]
		if i == 0 {
			c.access.all = e.All
		} else if e.Message && roles[e.Sender] < RoleWriter {
			c.bad(Intruder, "seq %d is a message of %s, whose role is %d at that place", e.Seq, e.Sender, roles[e.Sender])
		} else if _, in := roles[e.Sender]; !in {
			c.bad(Intruder, "seq %d was made by %s, who is no member at that place", e.Seq, e.Sender)
		}
		for _, ch := range e.Changes {
			_, in := roles[ch.User]
			spans := c.access.spans[ch.User]
			switch {
			case ch.Role != 0 && !in:
				c.access.spans[ch.User] = append(spans, interval{from: e.Seq, asked: c.sent(e), ended: math.MaxInt64, low: ch.Role})
			case ch.Role == 0 && in:
				spans[len(spans)-1].to, spans[len(spans)-1].ended = e.Seq, c.sent(e)
			case in:
				spans[len(spans)-1].low = min(spans[len(spans)-1].low, ch.Role)
			}
			if ch.Role == 0 {
				delete(roles, ch.User)
			} else {
				roles[ch.User] = ch.Role
			}
		}
	}
}

// sent is when the entry was first sent; the least number when nobody sent it,
// which is reported elsewhere.
func (c *conv) sent(e *Entry) int64 {
	if t, ok := c.called[key(e.Sender, e.MsgID)]; ok {
		return t
	}
	return math.MinInt64
}

// visible reports whether the user may ever read the entry at seq.
func (a *access) visible(user string, seq uint64) bool {
	return a.visibleBy(user, seq, math.MaxInt64)
}

// visibleBy reports whether the user may have read the entry at seq by a moment:
// a membership shows the history before it, but not before it was asked for.
func (a *access) visibleBy(user string, seq uint64, at int64) bool {
	for _, s := range a.spans[user] {
		if (a.all || seq >= s.from) && (s.to == 0 || seq <= s.to) && s.asked <= at {
			return true
		}
	}
	return false
}

// next is the first visible seq at or after seq, up to head; 0 if there is none.
func (a *access) next(user string, seq, head uint64) uint64 {
	for ; seq <= head; seq++ {
		if a.visible(user, seq) {
			return seq
		}
	}
	return 0
}

// constant reports whether the user was a member all along, so that what a read
// leaves out cannot be due to access.
func (a *access) constant(user string) bool {
	s := a.spans[user]
	return len(s) == 1 && s[0].to == 0 && (a.all || s[0].from == 1)
}

func (c *conv) leaks() {
	for _, op := range c.ops {
		if op.Outcome != OK {
			continue
		}
		for _, e := range op.Entries {
			if e.Seq <= c.head() && !c.access.visibleBy(op.User, e.Seq, op.Return) {
				c.bad(Leak, "op %d (%s) showed seq %d to %s, who may not see it", op.ID, op.Kind, e.Seq, op.User)
			}
		}
	}
	for _, s := range c.streams {
		for _, d := range s.Got {
			if d.Seq <= c.head() && !c.access.visibleBy(s.User, d.Seq, d.At) {
				c.bad(Leak, "stream %d delivered seq %d to %s, who may not see it", s.ID, d.Seq, s.User)
			}
		}
	}
}

// denials reports whom the service turned away although the membership was
// certain before the call and nobody had asked for its end by the return.
func (c *conv) denials() {
	steps := c.certain(math.MaxInt64)
	for _, op := range c.ops {
		if op.Outcome != Refused || op.Kind != Read && op.Kind != Append {
			continue
		}
		for _, s := range c.access.spans[op.User] {
			since, ok := firstSight(steps, s.from)
			if ok && since < op.Call && op.Return < s.ended && (op.Kind == Read || s.low >= RoleWriter) {
				c.bad(Denied, "op %d (%s) of %s, a member from seq %d on, was refused with %s", op.ID, op.Kind, op.User, s.from, op.Code)
			}
		}
	}
}
