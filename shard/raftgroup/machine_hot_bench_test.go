package raftgroup

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/store"
)

// processCPU is the processor time of the process: flushes, compactions and the
// garbage collection included.
func processCPU() time.Duration { return usedCPU(syscall.RUSAGE_SELF) }

const (
	hotCommands = 480 // per entry
	hotRound    = 16  // entries
	hotSenders  = 8
)

// hotEntry is an entry of the messages that a thousand outstanding ones of some
// senders make: their ids are nearly in the order of time, never quite.
func hotEntry(index uint64, name chat.ConvID, rng *rand.Rand, ms int64, text []byte) *raft.Log {
	var w fsm.BatchWriter
	for i := range hotCommands {
		letters(rng, text)
		id := fsmtest.ID(ms-int64(rng.IntN(20)), rng.Uint64())
		id[6], id[7] = id[6]|byte(rng.IntN(16)), byte(rng.IntN(256)) // as a UUIDv7 has it
		c := fsmtest.Send(name, hotSender(i), id, string(text))
		w.Add(fsmtest.Salt(rng.Uint64()), fsm.Encode(nil, c))
	}
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: w.Detach(fsm.Stamp{TimeMS: ms})}
}

func hotSender(i int) chat.UserID { return chat.UserID(fmt.Sprintf("user-%d", i%hotSenders)) }

// BenchmarkApplyHot applies large entries to one conversation, as a node does that
// is asked for all it can; one operation is one message. cpu-ns/op is the time of
// all threads while entries are applied and flushed; quiet-ns/op is that of the
// faster rounds, as in BenchmarkApplyEntries, where most see no flush.
func BenchmarkApplyHot(b *testing.B) {
	for _, role := range []string{"leader", "follower"} {
		b.Run(role, func(b *testing.B) {
			s, err := store.OpenState(b.TempDir(), store.StateOptions{BufferBytes: 64 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			state, err := s.Group(1)
			if err != nil {
				b.Fatal(err)
			}
			m := newMachine(1, state, conv.New(1, nil), func(err error) { b.Error(err) })
			m.awaited = func() bool { return role == "leader" }
			l := applyLoad{groups: []*machine{m}}
			rng, ms := rand.New(rand.NewPCG(1, 1)), fsmtest.Epoch
			name := chat.ConvID("bench-hot")
			var w fsm.BatchWriter
			var others []chat.Change
			for i := range hotSenders - 1 {
				others = append(others, chat.Change{User: hotSender(i + 1), Role: chat.Writer})
			}
			w.Add(fsmtest.Salt(0), fsm.Encode(nil, fsmtest.Group(name, hotSender(0), fsmtest.ID(ms, 1), others...)))
			l.apply(b, 0, []*raft.Log{{Index: 1, Term: 1, Type: raft.LogCommand, Data: w.Detach(fsm.Stamp{TimeMS: ms})}})

			index, text := uint64(1), make([]byte, 256)
			entries := make([]*raft.Log, hotRound)
			var spent []time.Duration
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += hotRound * hotCommands {
				b.StopTimer()
				for i := range entries {
					index, ms = index+1, ms+13
					entries[i] = hotEntry(index, name, rng, ms, text)
				}
				b.StartTimer()
				before := processCPU()
				for i := range entries {
					l.apply(b, 0, entries[i:i+1])
				}
				spent = append(spent, processCPU()-before)
			}
			before := processCPU()
			if err := state.Barrier(); err != nil {
				b.Fatal(err)
			}
			sum := processCPU() - before
			b.StopTimer()
			for _, d := range spent {
				sum += d
			}
			slices.Sort(spent)
			const round = hotRound * hotCommands
			b.ReportMetric(float64(sum.Nanoseconds())/float64(round*len(spent)), "cpu-ns/op")
			b.ReportMetric(float64(spent[len(spent)/4].Nanoseconds())/round, "quiet-ns/op")
		})
	}
}
