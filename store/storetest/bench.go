package storetest

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// BenchLog measures append and wait until durable, in a closed loop per group:
// one entry in flight per group, as the proposer keeps it. The log is cut as it
// grows, as a running node cuts it. Reported are the microseconds of processor
// time per entry and the bytes that reached the disk per byte appended.
func BenchLog(b *testing.B, newLog func(t testing.TB) Opener) {
	b.Helper()
	for _, groups := range []int{1, 8, 64} {
		for _, size := range []int{300, 10 << 10, 100 << 10} {
			b.Run(fmt.Sprintf("groups=%d/bytes=%d", groups, size), func(b *testing.B) {
				benchAppend(b, newLog(b)(b), groups, size)
			})
		}
	}
}

// benchKeepBytes is how much of a group's log stays when it is cut.
const benchKeepBytes = 8 << 20

func benchAppend(b *testing.B, l store.Log, groups, size int) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(size))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i*7 + i>>8)
	}
	before := usageNow()
	b.ResetTimer()
	var wg sync.WaitGroup
	for id := range groups {
		g := mustGroup(b, l, shard.GroupID(id))
		n := uint64(b.N / groups)
		if id < b.N%groups {
			n++
		}
		wg.Go(func() {
			if err := appendLoop(g, n, data); err != nil {
				b.Errorf("append = %v", err)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	used := usageNow()
	b.ReportMetric(float64((used.cpu-before.cpu).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(used.written-before.written)/float64(b.N*size), "disk-B/B")
	mustClose(b, l)
}

func appendLoop(g store.GroupLog, n uint64, data []byte) error {
	keep := uint64(benchKeepBytes / len(data))
	entries := make([]store.LogEntry, 1)
	for i := uint64(1); i <= n; i++ {
		entries[0] = store.LogEntry{Index: i, Term: 1, Data: data}
		if err := g.Append(entries); err != nil {
			return err
		}
		if err := g.WaitDurable(i); err != nil {
			return err
		}
		if first := g.FirstIndex(); i-first > 2*keep {
			if err := g.DeleteRange(first, i-keep); err != nil {
				return err
			}
		}
	}
	return nil
}

type usage struct {
	cpu     time.Duration
	written int64
}

func usageNow() usage {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return usage{}
	}
	return usage{
		cpu:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		written: ru.Oublock * 512,
	}
}
