package raftgroup

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/shard"
)

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchCluster is three nodes with default settings and leaders spread evenly.
func benchCluster(b *testing.B, groups int, mach func(*member, shard.GroupID) fsm.Machine, set func(*Config)) (*cluster, []*member) {
	b.Helper()
	cfg := DefaultConfig()
	if set != nil {
		set(&cfg)
	}
	c := newCluster(b, 3, cfg)
	c.mach = mach
	c.boot(groups)
	leads := make([]*member, groups+1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for g := 1; g <= groups; g++ {
		id, want := shard.GroupID(g), c.nodes[g%3]
		eventually(b, "spread leaders", func() bool {
			l := c.leader(id)
			if l != want {
				_ = l.host.TransferLeadership(ctx, id, want.id)
			}
			return want.host.IsLeader(id)
		})
		leads[g] = want
	}
	return c, leads
}

func convMachine(_ *member, g shard.GroupID) fsm.Machine { return conv.New(uint32(g), nil) }

// BenchmarkPropose: propose, commit, apply, acknowledge on three nodes in one
// process, closed loop. us/op-cpu is the time of all three nodes and the load.
func BenchmarkPropose(b *testing.B) {
	for _, groups := range []int{1, 8} {
		for _, out := range []int{1, 16, 64, 256, 1024} {
			b.Run(fmt.Sprintf("groups=%d/outstanding=%d", groups, out), func(b *testing.B) {
				benchPropose(b, groups, out, convMachine, nil)
			})
		}
	}
}

func BenchmarkProposeDepth2(b *testing.B) {
	for _, out := range []int{64, 1024} {
		b.Run(fmt.Sprintf("groups=8/outstanding=%d", out), func(b *testing.B) {
			benchPropose(b, 8, out, convMachine, func(c *Config) { c.InFlightMax = 2 })
		})
	}
}

// BenchmarkProposeTally is without the cost of the conversation machine.
func BenchmarkProposeTally(b *testing.B) {
	for _, out := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("groups=8/outstanding=%d", out), func(b *testing.B) { benchPropose(b, 8, out, nil, nil) })
	}
}

// client is one closed loop: it proposes again from the answer.
type client struct {
	host  *Host
	group shard.GroupID
	conv  chat.ConvID
	from  chat.UserID
	n     uint64
	ids   uint64
	left  chan struct{} // one token per operation
	done  chan struct{}
	errs  int
	text  string
}

func (l *client) next() {
	if _, ok := <-l.left; !ok {
		l.done <- struct{}{}
		return
	}
	l.ids++
	cmd := fsm.Encode(make([]byte, 0, 400), fsmtest.Send(l.conv, l.from, fsmtest.ID(time.Now().UnixMilli(), l.n<<32|l.ids), l.text))
	l.host.Propose(l.group, cmd, l.answered)
}

func (l *client) answered(r fsm.Result, err error) {
	if err != nil || r.Code != chat.OK {
		l.errs++
	}
	l.next()
}

func benchPropose(b *testing.B, groups, out int, mach func(*member, shard.GroupID) fsm.Machine, set func(*Config)) {
	b.Helper()
	_, leads := benchCluster(b, groups, mach, set)
	text := make([]byte, 256)
	for i := range text {
		text[i] = 'a' + byte(i%26)
	}
	clients := make([]*client, out)
	left := make(chan struct{}, b.N)
	for range b.N {
		left <- struct{}{}
	}
	close(left)
	done := make(chan struct{}, out)
	for i := range clients {
		g := shard.GroupID(i%groups + 1)
		l := &client{host: leads[g].host, group: g, conv: chat.ConvID(fmt.Sprintf("c%d-%d", g, i)),
			from: chat.UserID(fmt.Sprintf("u%d", i)), n: uint64(i + 1), left: left, done: done, text: string(text)}
		create := fsm.Encode(nil, fsmtest.Group(l.conv, l.from, fsmtest.ID(time.Now().UnixMilli(), l.n<<32)))
		answer := make(chan error, 1)
		l.host.Propose(g, create, func(r fsm.Result, err error) {
			if err == nil {
				err = r.Err("create")
			}
			answer <- err
		})
		if err := <-answer; err != nil {
			b.Fatal(err)
		}
		clients[i] = l
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for _, l := range clients {
		l.next()
	}
	for range clients {
		<-done
	}
	used := cpu() - before
	b.StopTimer()
	b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(b.N), "us-cpu/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	for _, l := range clients {
		if l.errs > 0 {
			b.Errorf("%d errors", l.errs)
			break
		}
	}
}

// BenchmarkReadIndex: confirmed reads, closed loop.
func BenchmarkReadIndex(b *testing.B) {
	for _, out := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("readers=%d", out), func(b *testing.B) {
			_, leads := benchCluster(b, 1, nil, nil)
			left := make(chan struct{}, b.N)
			for range b.N {
				left <- struct{}{}
			}
			close(left)
			done := make(chan struct{}, out)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			for range out {
				var next func(error)
				next = func(err error) {
					if err != nil {
						b.Errorf("read: %v", err)
					}
					if _, ok := <-left; !ok {
						done <- struct{}{}
						return
					}
					leads[1].host.ReadIndexAsync(1, next)
				}
				go next(nil)
			}
			for range out {
				<-done
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(b.N), "us-cpu/op")
		})
	}
}

// BenchmarkIdle: what eight groups on three nodes cost when nothing happens, as
// a share of one core per node. One operation is one second.
func BenchmarkIdle(b *testing.B) {
	benchCluster(b, 8, nil, nil)
	b.ResetTimer()
	before := cpu()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range b.N {
		<-tick.C
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.Elapsed())/3*100, "%core/node")
}
