package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// fakeDB stands in for the database at moments that the real one reaches by
// chance only.
type fakeDB struct {
	waiting   int    // compactions that wait
	scheduled int    // that were begun
	looking   func() // called by GetWaitingCompaction
}

func (d *fakeDB) GetAllowedWithoutPermission() int { return 1 }

func (d *fakeDB) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	waits := d.waiting > 0
	if d.looking != nil {
		d.looking()
	}
	return waits, pebble.WaitingCompaction{}
}

func (d *fakeDB) Schedule(pebble.CompactionGrantHandle) bool {
	if d.waiting == 0 {
		return false
	}
	d.waiting--
	d.scheduled++
	return true
}

// TestGrantAsksAgain: who is refused while nothing was found waiting counts on
// being granted later, and no compaction runs whose end would do it.
func TestGrantAsksAgain(t *testing.T) {
	db := &fakeDB{}
	s := newScheduler()
	s.Register(1, db)
	asked := false
	db.looking = func() {
		if asked {
			return
		}
		asked = true
		if ok, _ := s.TrySchedule(); ok {
			t.Error("a compaction was let in beside a grant")
		}
		db.waiting = 1
	}
	s.begin()
	if db.scheduled != 1 {
		t.Errorf("%d compactions were begun, want the one that was refused", db.scheduled)
	}
	db.waiting = 1
	s.Done()
	if db.scheduled != 2 {
		t.Errorf("%d compactions were begun, want the next one, too", db.scheduled)
	}
}

// TestNothingBeginsOutsideOfService: not before begin and not after Unregister.
func TestNothingBeginsOutsideOfService(t *testing.T) {
	db := &fakeDB{waiting: 2}
	s := newScheduler()
	s.Register(1, db)
	if ok, _ := s.TrySchedule(); ok {
		t.Error("a compaction was let in before the state was open")
	}
	s.begin()
	s.Unregister()
	s.Done()
	if ok, _ := s.TrySchedule(); ok || db.scheduled != 1 {
		t.Errorf("%d compactions were begun, another let in: %v; want one and none", db.scheduled, ok)
	}
}

// TestUnregisterWaitsForGrants: the database must not be asked after it.
func TestUnregisterWaitsForGrants(t *testing.T) {
	db := &fakeDB{}
	s := newScheduler()
	s.Register(1, db)
	inside, proceed := make(chan struct{}), make(chan struct{})
	db.looking = func() { close(inside); <-proceed }
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() { s.begin(); close(begun) }()
	<-inside
	go func() { s.Unregister(); close(ended) }()
	for s.mu.Lock(); !s.ended; s.mu.Lock() { // until it waits
		s.mu.Unlock()
	}
	s.mu.Unlock()
	select {
	case <-ended:
		t.Error("Unregister has returned while the database is asked")
	default:
	}
	close(proceed)
	<-begun
	<-ended
}
