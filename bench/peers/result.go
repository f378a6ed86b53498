package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is one line of output. Times are milliseconds.
type Result struct {
	System      string    `json:"system"`
	Work        string    `json:"work"`
	Sync        string    `json:"sync,omitempty"`
	Outstanding int       `json:"outstanding,omitempty"`
	TargetRate  int       `json:"target_rate,omitempty"`
	Bytes       int       `json:"bytes"`
	Ops         int64     `json:"ops"`
	Failed      int64     `json:"failed"`
	Seconds     float64   `json:"seconds"`
	Rate        float64   `json:"rate"` // operations per second
	Ack         Times     `json:"ack"`
	EndToEnd    *Times    `json:"end_to_end,omitempty"`
	ServerCPU   float64   `json:"server_cpu_us_per_op"` // of the three processes together
	LoadCPU     float64   `json:"load_cpu_us_per_op"`
	DiskBytes   float64   `json:"disk_bytes_per_op,omitempty"` // growth of the three data directories
	Stolen      float64   `json:"stolen_share"`                // of all processors, by the host of a virtual machine
	Gaps        []float64 `json:"gaps_ms,omitempty"`           // failover: kill to next acknowledgement
}

// Times are percentiles in milliseconds.
type Times struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// histogram counts microseconds up to a minute, to three digits.
type histogram struct{ h *hdrhistogram.Histogram }

func newHistogram() histogram { return histogram{hdrhistogram.New(1, 60_000_000, 3)} }

func (h histogram) record(d time.Duration) {
	_ = h.h.RecordValue(min(max(d.Microseconds(), 1), 60_000_000)) // clamped into the range, so never an error
}

func (h histogram) merge(o histogram) { h.h.Merge(o.h) }

func (h histogram) times() Times {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return Times{P50: ms(h.h.ValueAtQuantile(50)), P99: ms(h.h.ValueAtQuantile(99)), Max: ms(h.h.Max())}
}
