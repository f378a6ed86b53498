package peer

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

type quick struct{ backend }

func (q *quick) ServePropose(_ shard.GroupID, _ []byte, done func(fsm.Result, error)) {
	done(fsm.Result{Ack: chat.Ack{Seq: 1, MsgNo: 1, TimeMS: 1, Root: chat.Hash{1}}}, nil)
}

// loop keeps as many proposals outstanding as it was started with.
type loop struct {
	p    *Pool
	cmd  []byte
	left *atomic.Int64
	done chan struct{}
}

func (l *loop) Answered(uint64, fsm.Result, error) {
	if l.left.Add(-1) < 0 {
		l.done <- struct{}{}
		return
	}
	l.again()
}

func (l *loop) again() {
	for l.p.Propose("s", 1, l.cmd, l, 0) != nil {
		<-time.After(time.Millisecond)
	}
}

// BenchmarkForward is a proposal of 256 bytes to another node and its answer,
// both ends in this process. cpu-ns/op is the processor time of both.
func BenchmarkForward(b *testing.B) {
	for _, outstanding := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) {
			q := &quick{}
			addr, s := serve(b, &q.backend, nil, nil)
			s.deps.Backend = q
			p := connect(b, calm(), addr, PoolDeps{})
			eventually(b, "up", func() bool { return p.Up("s") })
			var left atomic.Int64
			left.Store(int64(b.N))
			l := &loop{p: p, cmd: make([]byte, 256), left: &left, done: make(chan struct{}, outstanding)}
			b.ReportAllocs()
			b.ResetTimer()
			before := processorTime(b)
			for range outstanding {
				l.again()
			}
			for range outstanding {
				<-l.done
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
