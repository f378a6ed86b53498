package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Text writes results for people, a few lines each.
type Text struct {
	mu sync.Mutex
	w  io.Writer
}

// NewText writes to w.
func NewText(w io.Writer) *Text { return &Text{w: w} }

// Add writes one result.
func (t *Text) Add(r Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: %.0f/s over %.1f s", r.Workload, r.Label, r.Rate, r.Seconds)
	u := r.Resources
	if u.NodeCPUSeconds > 0 {
		fmt.Fprintf(&b, "; per operation %.1f us CPU of nodes, %.1f of load, %.0f B to disk", u.NodeCPUPerOpUS, u.LoadCPUPerOpUS, u.DiskBytesPerOp)
	}
	if u.StolenShare >= 0.005 {
		fmt.Fprintf(&b, "; the host took %.0f %% of the processors", 100*u.StolenShare)
	}
	b.WriteByte('\n')
	for _, name := range slices.Sorted(maps.Keys(r.Latency)) {
		l := r.Latency[name]
		if l.Count == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %-10s p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms  (%d)\n", name, l.P50, l.P90, l.P99, l.P999, l.Max, l.Count)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Values)) {
		fmt.Fprintf(&b, "  %s %.6g\n", name, r.Values[name])
	}
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, "  ERRORS %s %d\n", code, r.Errors[code])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := io.WriteString(t.w, b.String())
	return err
}
