package compare

import (
	"fmt"
	"strconv"
	"strings"
)

// Work is one piece of work that every system is given.
type Work struct {
	Kind        string // append, pages, latency or failover
	Outstanding int    // append and pages: closed loop
	Rate        int    // latency: operations per second, open loop
	Share       int    // latency: or percent of the most that the system itself does
}

// Name tells works apart in a table.
func (w Work) Name() string {
	switch w.Kind {
	case "latency":
		if w.Share > 0 {
			return fmt.Sprintf("latency at %d%% of maximum", w.Share)
		}
		return fmt.Sprintf("latency at %d/s", w.Rate)
	case "failover":
		return "failover"
	}
	return fmt.Sprintf("%s at %d", w.Kind, w.Outstanding)
}

func (w Work) validate() error {
	switch {
	case w.Kind != "append" && w.Kind != "pages" && w.Kind != "latency" && w.Kind != "failover":
		return fmt.Errorf("work %q: want append, pages, latency or failover", w.Kind)
	case (w.Kind == "append" || w.Kind == "pages") && (w.Outstanding < 1 || w.Outstanding > 4096):
		return fmt.Errorf("work %s: %d outstanding is not within 1 and 4096", w.Kind, w.Outstanding)
	case w.Kind == "latency" && w.Share != 0 && (w.Share < 1 || w.Share > 100):
		return fmt.Errorf("work latency: a share of %d%% is not within 1 and 100", w.Share)
	case w.Kind == "latency" && w.Share == 0 && w.Rate < 1:
		return fmt.Errorf("work latency: a rate of %d is below 1", w.Rate)
	}
	return nil
}

// ParseWork reads a work as it stands on a command line: append:64, pages:16,
// latency:2000, latency:50% or failover.
func ParseWork(s string) (Work, error) {
	kind, amount, ok := strings.Cut(s, ":")
	w := Work{Kind: kind}
	if !ok {
		return w, w.validate()
	}
	number, percent := strings.CutSuffix(amount, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil:
		return Work{}, fmt.Errorf("work %q: %q is no number", s, amount)
	case percent && (kind != "latency" || n == 0):
		return Work{}, fmt.Errorf("work %q: a share in percent is for latency, from 1 on", s)
	case percent:
		w.Share = n
	case kind == "latency":
		w.Rate = n
	default:
		w.Outstanding = n
	}
	return w, w.validate()
}

// figure is one number of a measurement that can be compared.
type figure struct {
	name string
	more bool // more is better
	of   func(m *measurement) float64
}

// figuresOf gives what is compared of a work.
func figuresOf(w Work) []figure {
	p50 := figure{"ack p50, ms", false, func(m *measurement) float64 { return m.AckP50 }}
	p99 := figure{"ack p99, ms", false, func(m *measurement) float64 { return m.AckP99 }}
	cpu := figure{"CPU s per 100,000", false, func(m *measurement) float64 { return m.CPUMicros / 10 }}
	switch w.Kind {
	case "latency":
		return []figure{
			{"messages/s", true, func(m *measurement) float64 { return m.Rate }}, p50, p99,
			{"end to end p50, ms", false, func(m *measurement) float64 { return m.E2EP50 }},
			{"end to end p99, ms", false, func(m *measurement) float64 { return m.E2EP99 }},
			cpu,
		}
	case "failover":
		return []figure{{"gap, median ms", false, func(m *measurement) float64 { return m.GapMedian }}}
	case "pages":
		return []figure{{"pages/s", true, func(m *measurement) float64 { return m.Rate }}, p99}
	}
	return []figure{
		{"appends/s", true, func(m *measurement) float64 { return m.Rate }},
		p50, p99, cpu,
		{"stored bytes each", false, func(m *measurement) float64 { return m.StoredBytes }},
	}
}

// measurement is what one system did with one work in one turn.
type measurement struct {
	Rate           float64
	AckP50, AckP99 float64
	E2EP50, E2EP99 float64
	CPUMicros      float64
	StoredBytes    float64
	GapMedian      float64
}
