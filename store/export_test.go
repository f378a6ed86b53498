package store

import (
	"context"
	"runtime"
	"time"
)

// BufferedBytes is the memory of all layers.
func BufferedBytes(s *State) int64 { return s.mem.used.Load() }

// AwaitFull returns when batches have used up the budget. The test's own time
// limit ends it otherwise.
func AwaitFull(s *State) {
	for s.mem.used.Load() <= s.mem.most {
		runtime.Gosched()
	}
}

// ViewAround takes a view and calls fn between its two looks, at memory and at
// the tables. It gives nil when the view has to be taken again.
func ViewAround(g *GroupState, fn func()) (*View, error) {
	mem := g.memory()
	fn()
	return g.viewOver(mem)
}

// Merge compacts everything, and MergeCategory is the name under which that writes.
func Merge(s *State) error { return s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false) }

const MergeCategory = mergeCategory

// BlocksRead counts the blocks of tables that were used, from memory or from disk.
func BlocksRead(s *State) int64 {
	m := s.db.Metrics()
	return m.BlockCache.Hits + m.BlockCache.Misses
}

// Layers is how many tables lie over each other.
func Layers(s *State) int { return s.layers() }

// Miscount lowers the running count of a group's bytes.
func Miscount(g *GroupState, bytes uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pos.bytes -= bytes
	g.dirty = true
}

// L0Compact is more tables over each other than are left unmerged.
const L0Compact = l0Compact

// AwaitLayers returns when fewer than n tables lie over each other, or the time is
// over, which it reports by false.
func AwaitLayers(s *State, n int, limit time.Duration) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	for s.layers() >= n {
		select {
		case <-s.compacted:
		case <-end.C:
			return false
		}
	}
	return true
}
