package api

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/wire"
)

// query reads the parameters of a URL and keeps the first fault. A parameter
// that is not understood is a fault, unlike an unknown field of a body: a page
// from the wrong place would look like an answer.
type query struct {
	values url.Values
	err    error
}

// query reads the parameters, which are among those that the route knows.
func (c *call) query(known ...string) query {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return query{err: chat.E("http", chat.Invalid, "the query of the URL is malformed; parameters are joined by &", err)}
	}
	q := query{values: values}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !slices.Contains(known, name):
			takes := "none"
			if len(known) > 0 {
				takes = strings.Join(known, ", ")
			}
			q.err = invalid(fmt.Sprintf("there is no parameter %.64q here; there is: %s", name, takes))
			return q
		case len(values[name]) > 1:
			q.fault(name, "given once")
		}
	}
	return q
}

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
	n, err := strconv.ParseUint(q.values.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		q.fault(name, fmt.Sprintf("a whole number from %d to %d", least, most))
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
