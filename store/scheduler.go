package store

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler lets one compaction run at a time: two cores serve everything, and one
// stays with the log. None runs before [scheduler.begin], since Pebble's Open
// waits for all that have begun, and with paced merging a node would not be there
// for that long. (Raising the format of the tables inside Open may wait for a
// compaction, too; that of formats before pebble.FormatPrePebblev1MarkedCompacted,
// which no directory of ours ever had.)
//
// Pebble's own scheduler looks ten times a second whether more compactions may
// run, which would be most of what this database costs an idle node. Here the
// number never changes, so the end of a compaction is all there is to notice.
type scheduler struct {
	db pebble.DBForCompaction // set by Register, before everything else

	mu       sync.Mutex // never held while db is called; db calls with its own locks held
	granted  sync.Cond  // granting has ended
	begun    bool
	ended    bool
	running  bool // or may be, while granting
	granting bool
	refused  bool // somebody asked meanwhile, and counts on being granted later
}

var _ pebble.CompactionScheduler = (*scheduler)(nil)

func newScheduler() *scheduler {
	s := &scheduler{}
	s.granted.L = &s.mu
	return s
}

// begin lets compactions run, beginning with what has waited.
func (s *scheduler) begin() {
	s.mu.Lock()
	s.begun = true
	s.mu.Unlock()
	s.grant()
}

// grant lets the next compaction run, if one waits and none runs.
func (s *scheduler) grant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.granting { // by one at a time, so that Unregister knows when nobody does
		s.granted.Wait()
	}
	for s.begun && !s.ended && !s.running {
		s.running, s.granting, s.refused = true, true, false
		s.mu.Unlock()
		waiting, _ := s.db.GetWaitingCompaction()
		taken := waiting && s.db.Schedule(s)
		s.mu.Lock()
		s.granting = false
		s.granted.Broadcast()
		if taken {
			return
		}
		s.running = false
		if !s.refused {
			return
		}
	}
}

// Register implements [pebble.CompactionScheduler].
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister implements [pebble.CompactionScheduler].
func (s *scheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for s.granting {
		s.granted.Wait()
	}
}

// TrySchedule implements [pebble.CompactionScheduler].
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun || s.ended || s.running {
		s.refused = true
		return false, nil
	}
	s.running = true
	return true, s
}

// UpdateGetAllowedWithoutPermission implements [pebble.CompactionScheduler].
func (s *scheduler) UpdateGetAllowedWithoutPermission() {}

// Done implements [pebble.CompactionGrantHandle].
func (s *scheduler) Done() {
	s.mu.Lock()
	s.running = false
	s.mu.Unlock()
	s.grant()
}

// Started, MeasureCPU and CumulativeStats implement [pebble.CompactionGrantHandle].
func (s *scheduler) Started() {}

func (s *scheduler) MeasureCPU(pebble.CompactionGoroutineKind) {}

func (s *scheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}
