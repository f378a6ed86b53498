package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chatnode/chatnode/bench"
)

// peerLine is the line that peerbench prints.
type peerLine struct {
	Ops     int64     `json:"ops"`
	Failed  int64     `json:"failed"`
	Seconds float64   `json:"seconds"`
	Rate    float64   `json:"rate"`
	Ack     peerTimes `json:"ack"`
	E2E     peerTimes `json:"end_to_end"`
	Server  float64   `json:"server_cpu_us_per_op"`
	Load    float64   `json:"load_cpu_us_per_op"`
	Disk    float64   `json:"disk_bytes_per_op"`
	Stolen  float64   `json:"stolen_share"`
	Gaps    []float64 `json:"gaps_ms"`
}

type peerTimes struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func (t peerTimes) latency(n int64) bench.Latency {
	return bench.Latency{Count: n, P50: t.P50, P99: t.P99, Max: t.Max}
}

// version asks a server's binary which it is; "" when it does not say.
func version(ctx context.Context, binary string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// peer is a system that peerbench drives.
func (c Config) peer(name, binary string, args ...string) system {
	return system{name: name, measure: func(ctx context.Context, w Work) (measurement, bench.Result, error) {
		args := append(slices.Clone(args), "--binary="+binary, "--work="+w.Kind, "--bytes="+strconv.Itoa(c.Bytes),
			"--duration="+c.Duration.String(), "--rounds="+strconv.Itoa(c.Rounds))
		if w.Outstanding > 0 {
			args = append(args, "--outstanding="+strconv.Itoa(w.Outstanding))
		}
		if w.Kind == "append" {
			args = append(args, "--streams="+strconv.Itoa(c.Streams)) // etcd has none and does not mind
		}
		if w.Rate > 0 {
			args = append(args, "--rate="+strconv.Itoa(w.Rate))
		}
		if w.Share > 0 {
			args = append(args, "--share="+strconv.Itoa(w.Share))
		}
		cmd := exec.CommandContext(ctx, c.PeerBench, args...)
		cmd.WaitDelay = 10 * time.Second
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its servers itself
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			return measurement{}, bench.Result{}, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
		}
		m, res, err := peerFigures(w, stdout.Bytes())
		res.Versions.System = version(ctx, binary)
		return m, res, err
	}}
}

func peerFigures(w Work, out []byte) (measurement, bench.Result, error) {
	var p peerLine
	if err := json.Unmarshal(out, &p); err != nil {
		return measurement{}, bench.Result{}, fmt.Errorf("peerbench printed %.200q: %w", out, err)
	}
	m := measurement{
		Rate: p.Rate, AckP50: p.Ack.P50, AckP99: p.Ack.P99, E2EP50: p.E2E.P50, E2EP99: p.E2E.P99,
		CPUMicros: p.Server, StoredBytes: p.Disk, GapMedian: median(p.Gaps),
	}
	res := bench.Result{
		Workload: w.Kind, Label: w.Name(), Time: time.Now().UTC(), Machine: bench.ThisMachine(), Versions: bench.Versions{Load: bench.LoadVersion()},
		Seconds: p.Seconds, Count: p.Ops, Rate: p.Rate, Latency: map[string]bench.Latency{"ack": p.Ack.latency(p.Ops)},
		Resources: bench.Resources{NodeCPUPerOpUS: p.Server, LoadCPUPerOpUS: p.Load, StoredBytesPerOp: p.Disk, StolenShare: p.Stolen},
	}
	if p.Failed > 0 {
		res.Errors = map[string]int64{"failed": p.Failed}
	}
	if w.Kind == "latency" {
		res.Latency["end_to_end"] = p.E2E.latency(p.Ops)
	}
	if len(p.Gaps) > 0 {
		res.Latency["gap"] = bench.Latency{Count: int64(len(p.Gaps)), P50: m.GapMedian, Max: slices.Max(p.Gaps)}
	}
	return m, res, nil
}

// median is the middle of v, 0 of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
