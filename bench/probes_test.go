package bench

import (
	"testing"
	"time"
)

// TestSeriesOfAFault: a sample stands at the end of its step. One that stands at
// the begin is drawn before the mark of the fault that it shows.
func TestSeriesOfAFault(t *testing.T) {
	p := &probes{step: seriesStep}
	const fault = 1050 * time.Millisecond
	for at := 50 * time.Millisecond; at <= 3*time.Second; at += 10 * time.Millisecond {
		if at < fault || at > fault+time.Second {
			p.count(at)
		}
	}
	begin := 0.0
	for _, s := range p.series() {
		if s.Rate == 0 && begin < fault.Seconds()-seriesStep.Seconds()/2 {
			t.Errorf("nothing is acknowledged from %.2f to %.2f s; the fault was at %v", begin, s.At, fault)
		}
		if s.At > begin+seriesStep.Seconds()*1.01 {
			t.Errorf("the step that begins at %.2f s ends at %.2f", begin, s.At)
		}
		begin = s.At
	}
}

// TestLongSeries: a timeline of an hour has fewer points than one of ten minutes
// would at the same step, and loses nothing.
func TestLongSeries(t *testing.T) {
	p := &probes{step: seriesStep}
	n := 0.0
	for at := time.Duration(0); at < time.Hour; at += 500 * time.Millisecond {
		p.count(at)
		n++
	}
	all := p.series()
	sum, last := 0.0, 0.0
	for _, s := range all {
		sum += s.Rate * (s.At - last)
		last = s.At
	}
	if len(all) > seriesMax || last < 3599 || sum < n-0.5 || sum > n+0.5 {
		t.Errorf("%d points up to %.1f s with %.1f acknowledgements; want at most %d, 3600 and %.0f", len(all), last, sum, seriesMax, n)
	}
}
