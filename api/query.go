package api

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/wire"
)

// query reads the parameters of a URL and keeps the first fault. Parameters
// that it was not asked for are ignored, as unknown fields are.
type query struct {
	values url.Values
	err    error
}

func (c *call) query() query { return query{values: c.QueryParams()} }

func (q *query) fault(name, want string) {
	if q.err == nil {
		q.err = invalid(fmt.Sprintf("%s must be %s", name, want))
	}
}

func (q *query) has(name string) bool { return q.values.Has(name) }

// number reads a whole number from least to most, none when it is absent.
func (q *query) number(name string, none, least, most uint64) uint64 {
	if !q.has(name) {
		return none
	}
	v := q.values[name]
	n, err := strconv.ParseUint(v[0], 10, 64)
	if err != nil || len(v) > 1 || n < least || n > most {
		q.fault(name, fmt.Sprintf("one whole number from %d to %d", least, most))
		return none
	}
	return n
}

func (q *query) seq(name string, least uint64) chat.Seq {
	return chat.Seq(q.number(name, 0, least, wire.RefMax))
}

func (q *query) freshness() session.Freshness {
	level, ok := wire.ParseLevel(q.values.Get("consistency"))
	if !ok {
		q.fault("consistency", "linearizable, leader or stale")
	}
	return session.Freshness{Level: level, MinSeq: q.seq("min_seq", 0)}
}

// wait reads how long a long poll may wait: a duration such as 30s.
func (q *query) wait(most time.Duration) time.Duration {
	if !q.has("wait") {
		return 0
	}
	d, err := time.ParseDuration(q.values.Get("wait"))
	if err != nil || d < 0 || d > most {
		q.fault("wait", fmt.Sprintf("a duration such as 30s, at most %v", most))
		return 0
	}
	if !q.has("after") {
		q.fault("wait", "given with after")
	}
	return d
}

// page reads which entries are wanted.
func (q *query) page(id chat.ConvID, user chat.UserID) conv.Query {
	p := conv.Query{Conv: id, User: user, Limit: int(q.number("limit", 0, 1, chat.PageEntriesMax))}
	given := 0
	for _, m := range []struct {
		name string
		mode conv.Mode
	}{{"before", conv.Before}, {"after", conv.After}, {"around", conv.Around}} {
		if q.has(m.name) {
			given++
			p.Mode, p.Seq = m.mode, q.seq(m.name, 0)
		}
	}
	if given > 1 {
		q.fault("before, after and around", "given one at a time")
	}
	return p
}
