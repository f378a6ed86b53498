package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/bench"
)

func measured(system, workload, label string, rate float64, config map[string]any, took time.Duration) bench.Result {
	h := bench.NewHistogram()
	for range 100 {
		h.Record(took)
	}
	return bench.Result{System: system, Workload: workload, Label: label, Rate: rate, Config: config, Latency: map[string]bench.Latency{"ack": h.Latency()}}
}

// TestLinesAreOfOneLoad: a curve over messages of 100 bytes and of 400 KB says
// nothing of either.
func TestLinesAreOfOneLoad(t *testing.T) {
	at := func(config map[string]any, took time.Duration) bench.Result {
		return measured("chatnode", "throughput", "64 outstanding", 9, config, took)
	}
	results := []bench.Result{
		at(map[string]any{"payload_bytes": 100.0, "anywhere": false, "nodes": 3.0}, time.Millisecond),
		at(map[string]any{"payload_bytes": 400_000.0, "anywhere": false, "nodes": 3.0}, time.Second),
		at(map[string]any{"payload_bytes": 100.0, "anywhere": true, "nodes": 3.0}, 10*time.Millisecond),
		at(map[string]any{"payload_bytes": 100.0, "anywhere": false, "nodes": 3.0}, time.Millisecond),
	}
	var all []*bench.Result
	for i := range results {
		all = append(all, &results[i])
	}
	merged, order, err := mergedCurves(all, "ack")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"chatnode 64 outstanding, payload bytes 100", "chatnode 64 outstanding, payload bytes 400000", "chatnode 64 outstanding, anywhere, payload bytes 100"}
	if d := cmp.Diff(want, order); d != "" {
		t.Fatalf("lines (-want +got):\n%s", d)
	}
	if h := merged[want[0]]; h.Count() != 200 || h.At(100) > 2*time.Millisecond {
		t.Errorf("the first line has %d answers up to %v", h.Count(), h.At(100))
	}
}

// TestBarsAreOfOneComparison: one log beside one is not the same work as a thousand
// conversations beside one, although both are called append at 64.
func TestBarsAreOfOneComparison(t *testing.T) {
	one := map[string]any{"compared": "1 conversation", "turn": 1.0}
	many := map[string]any{"compared": "1000 conversations", "turn": 1.0}
	got := bySystem([]bench.Result{
		measured("chatnode", "append", "append at 64", 9, one, time.Millisecond),
		measured("etcd", "append", "append at 64", 3, one, time.Millisecond),
		measured("chatnode", "append", "append at 64", 5, many, time.Millisecond),
		measured("etcd", "append", "append at 64", 4, many, time.Millisecond),
		measured("chatnode", "pages", "pages at 16", 7, one, time.Millisecond),
		measured("etcd", "pages", "pages at 16", 6, one, time.Millisecond),
		measured("chatnode", "throughput", "64 outstanding", 8, nil, time.Millisecond),
	})
	want := map[string]map[string][]float64{
		"append at 64, 1 conversation":     {"chatnode": {9}, "etcd": {3}},
		"append at 64, 1000 conversations": {"chatnode": {5}, "etcd": {4}},
		"pages at 16":                      {"chatnode": {7}, "etcd": {6}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("works (-want +got):\n%s", d)
	}
}

// TestLinesLookDifferent: two lines of one colour cannot be told apart.
func TestLinesLookDifferent(t *testing.T) {
	seen := map[string]int{}
	for i := range linesMax {
		s := style(i)
		look := fmt.Sprint(s.Color, s.Dashes)
		if other, ok := seen[look]; ok {
			t.Errorf("lines %d and %d look alike", other, i)
		}
		seen[look] = i
	}
}

// TestLeftOutIsSaid: more lines than a plot shows are no secret.
func TestLeftOutIsSaid(t *testing.T) {
	var results []bench.Result
	for i := range linesMax + 5 {
		results = append(results, measured("chatnode", "throughput", "x", 9, map[string]any{"outstanding": 1.0, "payload_bytes": float64(1 + i)}, time.Millisecond))
	}
	figs, err := figures(results)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figs {
		if !strings.Contains(f.note, "The first 12 of ") {
			t.Errorf("%s: %q", f.title, f.note)
		}
	}
}
