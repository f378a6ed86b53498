package bench_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A histogram agrees with sorting, and comes back from a result file as it was.
func TestHistogram(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	h := bench.NewHistogram()
	var all []time.Duration
	for range 50_000 {
		d := time.Duration(rnd.ExpFloat64() * float64(5*time.Millisecond))
		all = append(all, max(d, time.Microsecond))
		h.Record(d)
	}
	slices.Sort(all)
	l := h.Latency()
	back, err := l.Histogram()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []float64{50, 90, 99, 99.9} {
		want := all[int(q/100*float64(len(all)))-1]
		for _, got := range []time.Duration{h.At(q), back.At(q)} {
			if diff := (got - want).Abs(); diff > want/100+2*time.Microsecond {
				t.Errorf("p%g is %v, want %v within a hundredth", q, got, want)
			}
		}
	}
	if back.Count() != 50_000 {
		t.Errorf("%d come back", back.Count())
	}
	h.Record(time.Hour) // beyond the range
	h.Record(-time.Second)
	if h.At(100) < 9*time.Minute || h.Count() != 50_002 {
		t.Errorf("max %v of %d", h.At(100), h.Count())
	}
}

func TestResultLines(t *testing.T) {
	var b bytes.Buffer
	lines := bench.NewLines(&b)
	for _, label := range []string{"a", "b"} {
		if err := lines.Add(bench.Result{Workload: "w", Label: label, Seed: 1 << 52, Config: map[string]any{"n": 3}}); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteString("\n\n")
	got, err := bench.ReadResults(&b)
	if err != nil || len(got) != 2 || got[1].Label != "b" || got[1].Seed != 1<<52 || got[0].Config["n"] != 3.0 {
		t.Errorf("read back %+v, %v", got, err)
	}
	if _, err := bench.ReadResults(strings.NewReader(`{"workload":"w"}` + "\nx\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a broken line gives %v", err)
	}
	// A line of chaos is JSON, too, and would make an empty page.
	if _, err := bench.ReadResults(strings.NewReader(`{"kind":"chaos","seed":1,"ok":true}`)); err == nil || !strings.Contains(err.Error(), "line 1: no result of a workload") {
		t.Errorf("a line of something else gives %v", err)
	}
}

func FuzzReadResults(f *testing.F) {
	f.Add([]byte(`{"workload":"w","latency":{"ack":{"hdr":"HISTFAAA"}}}`))
	f.Add([]byte("{}\n\n[]"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		results, err := bench.ReadResults(bytes.NewReader(b))
		if err != nil {
			return
		}
		text := bench.NewText(&bytes.Buffer{})
		for _, r := range results {
			_ = text.Add(r)
		}
	})
}

// The defaults are valid; what is not is told in full.
// TestPreloadIsBounded: pages need messages, and nobody asked for a full disk.
func TestPreloadIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name    string
		bytes   int
		preload int
		bad     bool
	}{
		{"usual", 256, 100, false},
		{"less than a page", 256, 49, true},
		{"too much", 400_000, 100, true},
		{"absurd", 256, 1 << 60, true},
	} {
		w := bench.DefaultThroughput()
		w.Reads, w.Bytes, w.Preload = 0.5, tt.bytes, tt.preload
		if err := w.Validate(); (err != nil) != tt.bad || tt.bad && !strings.Contains(err.Error(), "preload: ") {
			t.Errorf("%s: Validate = %v; want a fault: %v", tt.name, err, tt.bad)
		}
	}
}

func with[W any](w W, set func(*W)) W {
	set(&w)
	return w
}

func TestValidate(t *testing.T) {
	for name, err := range map[string]error{
		"throughput": bench.DefaultThroughput().Validate(), "latency": bench.DefaultLatency().Validate(),
		"failover": bench.DefaultFailover().Validate(), "fanout": bench.DefaultFanout().Validate(),
		"connections": bench.DefaultConnections().Validate(),
	} {
		if err != nil {
			t.Errorf("the default of %s: %v", name, err)
		}
	}
	// A rate that is no number, or a negative one, would make a schedule without end.
	nan := math.NaN()
	for name, faulty := range map[string]interface{ Validate() error }{
		"rate":   with(bench.DefaultLatency(), func(w *bench.LatencyLoad) { w.Rates = []float64{nan} }),
		"share":  with(bench.DefaultLatency(), func(w *bench.LatencyLoad) { w.Shares = []float64{nan} }),
		"max":    with(bench.DefaultLatency(), func(w *bench.LatencyLoad) { w.Max = -1 }),
		"fanout": with(bench.DefaultFanout(), func(w *bench.Fanout) { w.Rate = nan }),
		"zipf":   with(bench.DefaultThroughput(), func(w *bench.Throughput) { w.Zipf = nan }),
		"reads":  with(bench.DefaultThroughput(), func(w *bench.Throughput) { w.Reads = nan }),
		"active": with(bench.DefaultConnections(), func(w *bench.Connections) { w.Active = nan }),
	} {
		if faulty.Validate() == nil {
			t.Errorf("%s: %+v is valid", name, faulty)
		}
	}
	w := bench.Throughput{Outstanding: []int{0}, Conversations: 0, Bytes: 0, Duration: 0}
	if err := w.Validate(); err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("four faults give %v", err)
	}
}
