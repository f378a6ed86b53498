package raftgroup

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// threadCPU is the processor time of the calling thread: without the flushes and
// the garbage collection that run beside it.
func threadCPU() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	return usedCPU(thread)
}

func usedCPU(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// letters fills a text, of which some letters are more frequent than others.
func letters(rng *rand.Rand, text []byte) {
	for i := range text {
		text[i] = "etaoinshrdlu etaoin qwertyuiopasdfghjklzxcvbnm"[rng.IntN(46)]
	}
}

// applyLoad is the committed entries of eight groups: messages of 256 bytes to a
// thousand conversations in random order.
type applyLoad struct {
	groups []*machine
	convs  [][]chat.ConvID // of each group
	index  []uint64
	rng    *rand.Rand
	ms     int64
	text   []byte
}

const (
	applyGroups   = 8
	applyConvs    = 1000
	applyCommands = 12 // per entry
	applyRound    = 128
)

func newApplyLoad(b *testing.B, await bool) *applyLoad {
	b.Helper()
	s, err := store.OpenState(b.TempDir(), store.StateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	l := &applyLoad{
		groups: make([]*machine, applyGroups), convs: make([][]chat.ConvID, applyGroups),
		index: make([]uint64, applyGroups), rng: rand.New(rand.NewPCG(1, 1)), ms: fsmtest.Epoch,
		text: make([]byte, 256),
	}
	for g := range l.groups {
		id := shard.GroupID(g + 1)
		state, err := s.Group(id)
		if err != nil {
			b.Fatal(err)
		}
		l.groups[g] = newMachine(id, state, conv.New(uint32(id), nil), func(err error) { b.Error(err) })
		l.groups[g].awaited = func() bool { return await }
		for i := range applyConvs / applyGroups {
			name := chat.ConvID(fmt.Sprintf("bench-%016x-%04d", l.rng.Uint64(), i))
			l.convs[g] = append(l.convs[g], name)
			var w fsm.BatchWriter
			w.Add(fsmtest.Salt(uint64(i)), fsm.Encode(nil, fsmtest.Group(name, sender(name), fsmtest.ID(l.ms, l.rng.Uint64()))))
			l.apply(b, g, []*raft.Log{l.entry(g, &w)})
		}
	}
	return l
}

func sender(name chat.ConvID) chat.UserID { return chat.UserID("u-" + name[6:18]) }

func (l *applyLoad) entry(g int, w *fsm.BatchWriter) *raft.Log {
	l.index[g]++
	return &raft.Log{Index: l.index[g], Term: 1, Type: raft.LogCommand, Data: w.Detach(fsm.Stamp{TimeMS: l.ms})}
}

func (l *applyLoad) apply(b *testing.B, g int, logs []*raft.Log) {
	b.Helper()
	for _, out := range l.groups[g].ApplyBatch(logs) {
		if out == nil {
			continue
		}
		o := out.(*outcome)
		for _, r := range o.results {
			if o.err != nil || r.Code != chat.OK {
				b.Fatal(r.Code, o.err)
			}
		}
		l.groups[g].recycle(o)
	}
}

// messages makes an entry for a group.
func (l *applyLoad) messages(g int) *raft.Log {
	l.ms++
	var w fsm.BatchWriter
	for range applyCommands {
		name := l.convs[g][l.rng.IntN(len(l.convs[g]))]
		letters(l.rng, l.text)
		c := fsmtest.Send(name, sender(name), fsmtest.ID(l.ms, l.rng.Uint64()), string(l.text))
		w.Add(fsmtest.Salt(l.rng.Uint64()), fsm.Encode(nil, c))
	}
	return l.entry(g, &w)
}

// BenchmarkApplyEntries applies entries of twelve messages to the state of eight
// groups, as a node does; one operation is one message. What it needs of memory
// is far more than a processor's own cache holds. cpu-ns/op is the time of the
// thread that applies; quiet-ns/op is that of the faster rounds, those with a
// quarter of all before them, for comparisons on a machine with other work.
func BenchmarkApplyEntries(b *testing.B) {
	for _, role := range []string{"leader", "follower"} {
		b.Run(role, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			l := newApplyLoad(b, role == "leader")
			b.ReportAllocs()
			b.ResetTimer()
			var spent []time.Duration
			entries := make([]*raft.Log, applyRound)
			for done := 0; done < b.N; {
				b.StopTimer()
				for i := range entries {
					entries[i] = l.messages(i % applyGroups)
				}
				b.StartTimer()
				before := threadCPU()
				for i, e := range entries {
					l.apply(b, i%applyGroups, []*raft.Log{e})
				}
				spent = append(spent, threadCPU()-before)
				done += applyRound * applyCommands
			}
			var sum time.Duration
			for _, d := range spent {
				sum += d
			}
			slices.Sort(spent)
			const round = applyRound * applyCommands
			b.ReportMetric(float64(sum.Nanoseconds())/float64(round*len(spent)), "cpu-ns/op")
			b.ReportMetric(float64(spent[len(spent)/4].Nanoseconds())/round, "quiet-ns/op")
		})
	}
}
