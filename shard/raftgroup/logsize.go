package raftgroup

import (
	"slices"
	"sync"
	"time"

	"github.com/chatnode/chatnode/store"
)

const (
	markBytes = 1 << 20 // of log between two marks
	marksMax  = 4096
)

// logSize knows how many bytes of entries a log holds, and where every further
// markBytes of them begin. It counts what processes before this one appended, too:
// a log that never grew much in one process would not be cut otherwise.
type logSize struct {
	mu    sync.Mutex // guards what follows
	marks []mark     // in order; the first is at the first entry
	total int64      // bytes counted, those before the first mark included
	since time.Time  // the last cut, or look at whether there is one to make
}

type mark struct {
	index uint64
	bytes int64 // counted before it
}

func (m mark) compare(index uint64) int { return compare(m.index, index) }

// measure counts the entries of a log that nobody writes to yet.
func (s *logSize) measure(log store.GroupLog) {
	first, last := log.FirstIndex(), log.LastIndex()
	for i := first; i != 0 && i <= last; i++ {
		s.grown(i, int64(log.EntryBytes(i)))
	}
}

// grown notes size bytes appended from index on.
func (s *logSize) grown(index uint64, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.marks); n == 0 || s.total-s.marks[n-1].bytes >= markBytes {
		if n >= marksMax { // from here on they are twice as far apart
			for i := range n / 2 {
				s.marks[i] = s.marks[2*i]
			}
			s.marks = s.marks[:n/2]
		}
		s.marks = append(s.marks, mark{index: index, bytes: s.total})
	}
	s.total += size
}

// shrunk notes that the entries low..high of first..last are about to be deleted,
// from one end of the log or from both.
func (s *logSize) shrunk(log store.GroupLog, low, high, first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case low == first && high == last:
		s.marks = s.marks[:0]
	case low == first:
		// The rest of the entries behind the last mark up to high gets that mark.
		next := high + 1
		n, at := slices.BinarySearchFunc(s.marks, next, mark.compare)
		if !at && n > 0 {
			n--
			for i := s.marks[n].index; i < next; i++ {
				s.marks[n].bytes += int64(log.EntryBytes(i))
			}
			s.marks[n].index = next
		}
		s.marks = append(s.marks[:0], s.marks[n:]...)
	default:
		for i := low; i <= high; i++ {
			s.total -= int64(log.EntryBytes(i))
		}
		n, _ := slices.BinarySearchFunc(s.marks, low, mark.compare)
		s.marks = s.marks[:n]
	}
	if low == first {
		s.since = time.Now()
	}
}

// looked notes that there is nothing more to cut for now.
func (s *logSize) looked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

// held gives the bytes of the entries that the log holds, and the time of the last cut.
func (s *logSize) held() (int64, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.marks) == 0 {
		return 0, s.since
	}
	return s.total - s.marks[0].bytes, s.since
}

// trailing is the number of newest entries up to last, the newest, that hold keep bytes
// and little more; all of them when they hold less.
func (s *logSize) trailing(keep int64, last uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var from uint64
	for _, m := range slices.Backward(s.marks) {
		if from = m.index; s.total-m.bytes >= keep {
			break
		}
	}
	return last - min(last, from) + 1
}
