package raftgroup

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// sizedLog has the lengths of entries and nothing else.
type sizedLog struct {
	store.GroupLog
	first uint64
	bytes []int
}

func (l *sizedLog) FirstIndex() uint64 {
	if len(l.bytes) == 0 {
		return 0
	}
	return l.first
}

func (l *sizedLog) LastIndex() uint64 {
	if len(l.bytes) == 0 {
		return 0
	}
	return l.first + uint64(len(l.bytes)) - 1
}

func (l *sizedLog) EntryBytes(index uint64) int {
	if len(l.bytes) == 0 || index < l.first || index > l.LastIndex() {
		return 0
	}
	return l.bytes[index-l.first]
}

func (l *sizedLog) sum(from uint64) (n int64) {
	for i := from; i != 0 && i <= l.LastIndex(); i++ {
		n += int64(l.EntryBytes(i))
	}
	return n
}

// TestLogSize compares the counted bytes with the log's over random appends, cuts,
// conflicts and restarts, and what a cut to some size leaves.
func TestLogSize(t *testing.T) {
	const most = 400 << 10 // of one append
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 4))
		l := &sizedLog{first: 1}
		s := new(logSize)
		for step := range 200 {
			first, last := l.FirstIndex(), l.LastIndex()
			switch op := rng.IntN(12); {
			case op < 9:
				if last == 0 {
					l.first = 1 + uint64(rng.IntN(50))
				}
				from, n := l.first+uint64(len(l.bytes)), int64(0)
				for range 1 + rng.IntN(4) {
					b := rng.IntN(most / 4)
					l.bytes = append(l.bytes, b)
					n += int64(b)
				}
				s.grown(from, n)
			case op == 9 && last > 0: // a cut, now and then of all
				high := first + uint64(rng.IntN(len(l.bytes)))
				s.shrunk(l, first, high, first, last)
				l.bytes, l.first = l.bytes[high-first+1:], high+1
			case op == 10 && last > 0: // a conflict
				low := last - uint64(rng.IntN(min(len(l.bytes), 6)))
				s.shrunk(l, low, last, first, last)
				l.bytes = l.bytes[:low-first]
			case op == 11 && rng.IntN(4) == 0:
				s = new(logSize)
				s.measure(l)
			}
			if got, _ := s.held(); got != l.sum(l.FirstIndex()) {
				t.Fatalf("seed %d, step %d: %d bytes, the log has %d", seed, step, got, l.sum(l.FirstIndex()))
			}
			keep := int64(rng.IntN(8 << 20))
			n, all := s.trailing(keep, l.LastIndex()), uint64(len(l.bytes))
			if n >= all {
				continue
			}
			if got := l.sum(l.LastIndex() - n + 1); got < keep || got > keep+markBytes+most {
				t.Fatalf("seed %d, step %d: a cut to %d bytes leaves %d", seed, step, keep, got)
			}
		}
	}
}

// TestLogSizeOfVeryLongLog: the number of marks is bounded, and what they count is not.
func TestLogSizeOfVeryLongLog(t *testing.T) {
	s := new(logSize)
	const n = 3 * marksMax
	for i := range uint64(n) {
		s.grown(i+1, markBytes)
	}
	if got, _ := s.held(); got != n*markBytes || len(s.marks) > marksMax {
		t.Errorf("%d bytes and %d marks for %d MB", got, len(s.marks), n)
	}
}

// TestLogIsCutOverRuns: runs of a process that are too short for a cut each must not
// let the log grow for ever, in any log.
func TestLogIsCutOverRuns(t *testing.T) {
	for kind, use := range logKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig()
			cfg.LogBytesMax, cfg.LogBytesKeep = 4<<20, 2<<20
			c := newCluster(t, 1, cfg)
			use(t, c)
			c.boot(1)
			m := c.nodes[0]
			body := strings.Repeat("x", 24<<10)
			const runs, each = 6, 60
			for run := range runs {
				for i := range each {
					c.put(1, fmt.Sprintf("%d/%d %s", run, i, body))
				}
				m.host.group(1).maybeCut() // as upkeep does every two seconds
				m.kill()
				m.start(1)
			}
			log := m.host.group(1).logs
			held, _ := log.size.held()
			if first := log.log.FirstIndex(); first == 1 || held > cfg.LogBytesMax {
				t.Errorf("after %d runs the log begins at %d and holds %d bytes", runs, first, held)
			}
			c.same(1, runs*each)
		})
	}
}

// TestNothingToCut: where a cut removes nothing, it is not made at every look.
func TestNothingToCut(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Config)
		age  time.Duration // of the last cut
		want int64
	}{
		{"young", func(*Config) {}, 0, 0},
		{"old", func(*Config) {}, 2 * time.Hour, 1},
		{"more is kept than may be there", func(c *Config) { c.LogBytesMax = 1 }, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig()
			tt.set(&cfg)
			c := newCluster(t, 1, cfg)
			var cuts atomic.Int64
			c.deps = func(_ *member, d *Deps) {
				d.Metrics.Cut = func(shard.GroupID, uint64) { cuts.Add(1) }
			}
			c.boot(1)
			c.fill(1, 20, "a")
			gr := c.nodes[0].host.group(1)
			gr.logs.size.mu.Lock()
			gr.logs.size.since = time.Now().Add(-tt.age)
			gr.logs.size.mu.Unlock()
			for range 5 {
				gr.maybeCut()
			}
			// One more where upkeep looks at the same moment.
			if n := cuts.Load(); n < tt.want || n > 2*tt.want {
				t.Errorf("cut %d times, want %d", n, tt.want)
			}
		})
	}
}
