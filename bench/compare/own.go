package compare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatnode/chatnode/bench"
	"github.com/chatnode/chatnode/bench/target"
)

const startWait = time.Minute

// last keeps the newest result of a workload.
type last struct{ res bench.Result }

func (l *last) Add(r bench.Result) error { l.res = r; return nil }

// own measures chatnode on three fresh processes, as a peer gets them.
func (c Config) own(ctx context.Context, w Work) (m measurement, res bench.Result, err error) {
	starting, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	t, err := target.Spawn(starting, target.Config{Binary: c.Binary, Nodes: 3})
	if err != nil {
		return m, res, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	var l last
	run := &bench.Run{Target: t, Sink: &l, Seed: c.Seed}
	if err := c.work(ctx, w, run); err != nil {
		return m, res, err
	}
	if n := l.res.Errors; w.Kind == "pages" && len(n) > 0 {
		return m, l.res, fmt.Errorf("pages were not answered: %v", n)
	}
	return ownFigures(l.res), l.res, nil
}

func (c Config) work(ctx context.Context, w Work, run *bench.Run) error {
	switch w.Kind {
	case "append", "pages":
		load := bench.DefaultThroughput()
		load.Outstanding, load.Bytes, load.Conversations, load.Duration = []int{w.Outstanding}, c.Bytes, c.Conversations, c.Duration
		if w.Kind == "pages" {
			return c.pages(ctx, w, run, load)
		}
		return load.Run(ctx, run)
	case "latency":
		return c.latency(w).Run(ctx, run)
	case "failover":
		load := bench.DefaultFailover()
		load.Repetitions = c.Rounds
		return load.Run(ctx, run)
	}
	return fmt.Errorf("work %q is unknown", w.Kind)
}

// latency is one point: at the rate at which the peers are measured, or, as they,
// at a share of the own maximum.
func (c Config) latency(w Work) bench.LatencyLoad {
	load := bench.DefaultLatency()
	load.Rates, load.Shares = []float64{float64(w.Rate)}, nil
	if w.Share > 0 {
		load.Rates, load.Shares = nil, []float64{float64(w.Share) / 100}
	}
	load.Bytes, load.Conversations, load.Duration = c.Bytes, c.Conversations, c.Duration
	return load
}

// preload is how many messages there are before pages are read, as in the
// drivers of the peers.
const preload = 20_000

// pages fills few conversations and then reads pages of 50 from anywhere in them.
func (c Config) pages(ctx context.Context, w Work, run *bench.Run, load bench.Throughput) error {
	load.Conversations = min(load.Conversations, 50)
	load.Preload = (preload + load.Conversations - 1) / load.Conversations
	load.Outstanding, load.Reads, load.PageLimit, load.Anywhere = []int{w.Outstanding}, 1, 50, true
	return load.Run(ctx, run)
}

func ownFigures(r bench.Result) measurement {
	ack := r.Latency["ack"]
	if read, ok := r.Latency["read"]; ok && ack.Count == 0 {
		ack = read
	}
	e2e, gap := r.Latency["end_to_end"], r.Latency["gap"]
	return measurement{
		Rate: r.Rate, AckP50: ack.P50, AckP99: ack.P99, E2EP50: e2e.P50, E2EP99: e2e.P99,
		CPUMicros: r.Resources.NodeCPUPerOpUS, StoredBytes: r.Resources.StoredBytesPerOp, GapMedian: gap.P50,
	}
}
