package compare

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseWork(t *testing.T) {
	tests := []struct {
		in   string
		want Work
		bad  bool
	}{
		{in: "append:64", want: Work{Kind: "append", Outstanding: 64}},
		{in: "latency:2000", want: Work{Kind: "latency", Rate: 2000}},
		{in: "latency:50%", want: Work{Kind: "latency", Share: 50}},
		{in: "latency:0%", bad: true},
		{in: "latency:101%", bad: true},
		{in: "append:50%", bad: true},
		{in: "failover", want: Work{Kind: "failover"}},
		{in: "append", bad: true},
		{in: "append:0", bad: true},
		{in: "append:x", bad: true},
		{in: "dance:1", bad: true},
		{in: "", bad: true},
	}
	for _, tt := range tests {
		got, err := ParseWork(tt.in)
		if (err != nil) != tt.bad || (!tt.bad && got != tt.want) {
			t.Errorf("ParseWork(%q) = %+v, %v; want %+v, an error: %v", tt.in, got, err, tt.want, tt.bad)
		}
	}
}

// TestOwnLatencyIsOnePoint: a point of another rate would be compared with the
// peers' at theirs.
func TestOwnLatencyIsOnePoint(t *testing.T) {
	load := Config{Bytes: 256, Conversations: 8, Duration: time.Second}.latency(Work{Kind: "latency", Rate: 2000})
	if err := load.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(load.Rates) != 1 || load.Rates[0] != 2000 || len(load.Shares) != 0 {
		t.Errorf("rates %v and shares %v; want 2000 alone", load.Rates, load.Shares)
	}
	load = Config{Bytes: 256, Conversations: 8, Duration: time.Second}.latency(Work{Kind: "latency", Share: 80})
	if err := load.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(load.Rates) != 0 || len(load.Shares) != 1 || load.Shares[0] != 0.8 {
		t.Errorf("rates %v and shares %v; want a share of 0.8 alone", load.Rates, load.Shares)
	}
}

func TestTablePairsTurns(t *testing.T) {
	w := Work{Kind: "append", Outstanding: 1}
	table := Table{works: []Work{w}, systems: []string{"chatnode", "etcd"}}
	// The machine is three times slower in the second turn, for both.
	for turn, slow := range []float64{1, 3, 1} {
		table.add(turn, w, "chatnode", measurement{Rate: 300 / slow, AckP50: 1 * slow})
		table.add(turn, w, "etcd", measurement{Rate: 100 / slow, AckP50: 4 * slow})
	}
	f := figuresOf(w)
	if got := table.ratio(w, f[0], "etcd"); math.Abs(got-3) > 1e-9 {
		t.Errorf("ratio of %s = %v, want 3", f[0].name, got)
	}
	if got := table.ratio(w, f[1], "etcd"); math.Abs(got-4) > 1e-9 {
		t.Errorf("ratio of %s = %v, want 4: less is better", f[1].name, got)
	}
	var b strings.Builder
	if err := table.Print(&b); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	if i, j := strings.Index(out, "3.00×"), strings.Index(out, "Medians"); i < 0 || j < i {
		t.Errorf("the ratios must come first:\n%s", out)
	}
	if !strings.Contains(out, "stored bytes each  –") {
		t.Errorf("what was not measured must show as a dash:\n%s", out)
	}
}

func TestPeerFigures(t *testing.T) {
	m, res, err := peerFigures(Work{Kind: "failover"}, []byte(`{"ops":3,"rate":1,"gaps_ms":[30,10,20,1000]}`))
	if err != nil || m.GapMedian != 25 || res.Latency["gap"].Max != 1000 {
		t.Errorf("peerFigures = %+v, %+v, %v; want a median of 25 and a worst of 1000", m, res.Latency, err)
	}
	if _, _, err := peerFigures(Work{Kind: "append"}, []byte("no JSON")); err == nil {
		t.Error("peerFigures took what is no JSON")
	}
}

// TestResultsOfOneWorkBelongTogether: a chart of the results finds chatnode beside
// the peers only when both call the work alike.
func TestResultsOfOneWorkBelongTogether(t *testing.T) {
	c := DefaultConfig()
	for _, w := range []Work{{Kind: "append", Outstanding: 64}, {Kind: "pages", Outstanding: 16}, {Kind: "latency", Share: 50}, {Kind: "failover"}} {
		own := bench.Result{Workload: "throughput", Label: "64 outstanding", Config: map[string]any{"outstanding": 64, "reads": 0}, Rate: 9}
		_, peer, err := peerFigures(w, []byte(`{"ops":3,"rate":1,"gaps_ms":[30]}`))
		if err != nil {
			t.Fatal(err)
		}
		a, b := c.stamped(own, "chatnode", 1, w), c.stamped(peer, "etcd", 1, w)
		if a.Workload != b.Workload || a.Label != b.Label || a.Config["compared"] != b.Config["compared"] || a.Config["compared"] == nil {
			t.Errorf("%s: %s, %s, %v beside %s, %s, %v", w.Name(), a.Workload, a.Label, a.Config, b.Workload, b.Label, b.Config)
		}
	}
}

// TestPeerResultsAreWhole: a result tells the version and what the host took.
func TestPeerResultsAreWhole(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := Config{PeerBench: script("peerbench", `echo '{"ops":3,"rate":1,"stolen_share":0.25}'`)}
	_, res, err := c.peer("etcd", script("etcd", "echo 'etcd Version: 3.7.0'; echo more")).measure(t.Context(), Work{Kind: "append", Outstanding: 1})
	if err != nil || res.Versions.System != "etcd Version: 3.7.0" || res.Resources.StolenShare != 0.25 {
		t.Errorf("measure = %+v, %v", res, err)
	}
}

func TestValidate(t *testing.T) {
	err := Config{PeerBench: "no-such-program", Etcd: "no-such-etcd"}.Validate()
	for _, want := range []string{"--peerbench", "--etcd", "--work", "--turns", "--payload", "--streams", "--duration"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want a fault of %s", err, want)
		}
	}
}
