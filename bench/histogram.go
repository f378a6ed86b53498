package bench

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram counts durations from a microsecond to ten minutes, to three
// digits. It is not safe for concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

const histogramMax = 10 * time.Minute

// NewHistogram is an empty one.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, histogramMax.Microseconds(), 3)}
}

// Record counts d; what is out of range counts as the bound.
func (h *Histogram) Record(d time.Duration) {
	_ = h.h.RecordValue(min(max(d.Microseconds(), 1), histogramMax.Microseconds())) // within range, so never an error
}

// Merge adds the counts of another.
func (h *Histogram) Merge(o *Histogram) { h.h.Merge(o.h) }

// Reset forgets everything.
func (h *Histogram) Reset() { h.h.Reset() }

// Count is how many were recorded.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// At gives a quantile between 0 and 100.
func (h *Histogram) At(quantile float64) time.Duration {
	return time.Duration(h.h.ValueAtQuantile(quantile)) * time.Microsecond
}

// Latency is the shape of a histogram, in milliseconds, and all of it in the
// compressed form of HdrHistogram for plots.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	Min   float64 `json:"min_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
	HDR   string  `json:"hdr,omitempty"`
}

// Latency gives the shape.
func (h *Histogram) Latency() Latency {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	l := Latency{
		Count: h.h.TotalCount(), Mean: h.h.Mean() / 1000, Min: ms(h.h.Min()),
		P50: ms(h.h.ValueAtQuantile(50)), P90: ms(h.h.ValueAtQuantile(90)),
		P99: ms(h.h.ValueAtQuantile(99)), P999: ms(h.h.ValueAtQuantile(99.9)), Max: ms(h.h.Max()),
	}
	if b, err := h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
		l.HDR = string(b)
	}
	return l
}

// Histogram restores the counts.
func (l *Latency) Histogram() (*Histogram, error) {
	if _, err := base64.StdEncoding.DecodeString(l.HDR); err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	h, err := hdrhistogram.Decode([]byte(l.HDR))
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	return &Histogram{h}, nil
}
