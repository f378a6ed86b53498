package report_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/bench"
	"github.com/chatnode/chatnode/bench/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample makes results as a file gives them: through JSON lines.
func sample(t *testing.T) []bench.Result {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	h := bench.NewHistogram()
	for range 10_000 {
		h.Record(time.Duration(rnd.ExpFloat64() * float64(2*time.Millisecond)))
	}
	var b bytes.Buffer
	lines := bench.NewLines(&b)
	add := func(r bench.Result) {
		r.Latency = map[string]bench.Latency{"ack": h.Latency()}
		r.Machine, r.Time = bench.Machine{CPU: "<b>CPU</b>", Cores: 2}, time.Unix(1_760_000_000, 0).UTC()
		if err := lines.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, system := range []string{"chatnode", "other"} {
		for _, n := range []int{1, 16, 256} {
			add(bench.Result{
				Workload: "throughput", System: system, Label: fmt.Sprintf("%d outstanding", n),
				Config: map[string]any{"outstanding": n, "payload_bytes": 256}, Rate: float64(1000 * n), Count: 9,
			})
		}
	}
	add(bench.Result{
		Workload: "failover", System: "chatnode", Label: "kill", Rate: 5,
		Series: []bench.Sample{{At: 0, Rate: 100}, {At: 1, Rate: 20}, {At: 2, Rate: 100}},
		Marks:  []bench.Mark{{At: 0.9, Text: "kill n1 <script>"}},
	})
	results, err := bench.ReadResults(&b)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	var page bytes.Buffer
	if err := report.Write(&page, "A <title>", sample(t), dir); err != nil {
		t.Fatal(err)
	}
	html := page.String()
	for _, want := range []string{"A &lt;title&gt;", "<svg", "Throughput", "Percentiles: throughput, ack", "Timeline: kill", "Comparison", "&lt;b&gt;CPU"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, never := range []string{"<script", "src=", "<link", "@import"} {
		if strings.Contains(html, never) {
			t.Errorf("the page has %q: it must stand alone", never)
		}
	}
	if n := strings.Count(html, "<svg"); n != strings.Count(html, "</svg>") || n < 5 {
		t.Errorf("%d plots", n)
	}
	for _, name := range []string{"throughput", "tradeoff", "comparison", "timeline-kill-7", "percentiles-failover-ack"} {
		png, err := os.ReadFile(filepath.Join(dir, name+".png"))
		if err != nil || !bytes.HasPrefix(png, []byte("\x89PNG")) {
			t.Errorf("%s.png: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, name+".svg")); err != nil {
			t.Error(err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	if err := report.Write(&bytes.Buffer{}, "t", nil, ""); err == nil {
		t.Error("no results make a report")
	}
	broken := sample(t)[:1]
	l := broken[0].Latency["ack"]
	l.HDR = "HISTFAAA"
	broken[0].Latency["ack"] = l
	if err := report.Write(&bytes.Buffer{}, "t", broken, ""); err == nil {
		t.Error("a broken histogram makes a report")
	}
}

// One result of each odd kind: nothing to draw, a single point, a single answer.
func TestWriteOddResults(t *testing.T) {
	h := bench.NewHistogram()
	h.Record(time.Millisecond)
	odd := []bench.Result{
		{Workload: "throughput", System: "chatnode", Label: "nothing"},
		{Workload: "throughput", System: "chatnode", Label: "one", Config: map[string]any{"outstanding": 1.0}, Rate: 1, Latency: map[string]bench.Latency{"ack": h.Latency()}},
	}
	if err := report.Write(&bytes.Buffer{}, "t", odd, t.TempDir()); err != nil {
		t.Error(err)
	}
}
