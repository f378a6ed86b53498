package seglog

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

func (l *segLog) wakeKeeper() {
	select {
	case l.keep <- struct{}{}:
	default:
	}
}

// keepSegments is the keeper's goroutine. It empties, re-uses and prepares
// segment files, so that neither appends nor the writer wait for that.
func (l *segLog) keepSegments() {
	defer close(l.keeperDone)
	for range l.keep {
		l.mu.Lock()
		stop := l.usable() != nil
		l.mu.Unlock()
		if stop {
			return
		}
		if err := l.keepOnce(); err != nil {
			_ = l.fatal.Fail("keep log segments", err)
			return
		}
	}
}

func (l *segLog) keepOnce() error {
	if err := l.dropDead(); err != nil {
		return err
	}
	for l.usableNow() {
		victim := l.sparse()
		if victim == nil {
			break
		}
		if err := l.forward(victim); err != nil {
			return err
		}
		if err := l.dropDead(); err != nil {
			return err
		}
	}
	l.prepareSpare()
	return nil
}

func (l *segLog) usableNow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usable() == nil
}

// dropDead takes away every segment that nothing needs any more.
func (l *segLog) dropDead() error {
	for {
		l.mu.Lock()
		i := slices.IndexFunc(l.segs, l.isDead)
		if i < 0 {
			l.mu.Unlock()
			return nil
		}
		seg := l.segs[i]
		l.segs = slices.Delete(l.segs, i, i+1)
		keep := len(l.spares) < sparesMax && seg.tail <= l.opts.SegmentBytes
		l.spareNo++
		spare := sparePrefix + formatNo(l.spareNo)
		l.mu.Unlock()

		path := filepath.Join(l.dir, segName(seg.header.number))
		err := seg.file.Close()
		if keep {
			err = errors.Join(err, l.fs.Rename(path, filepath.Join(l.dir, spare)))
		} else {
			err = errors.Join(err, l.fs.Remove(path))
		}
		// The old name must be gone for good before the file is written again.
		if err = errors.Join(err, l.fs.SyncDir(l.dir)); err != nil {
			return err
		}
		if keep {
			l.mu.Lock()
			l.spares = append(l.spares, spare)
			l.mu.Unlock()
		}
	}
}

// isDead applies invariant L3; mu is held.
func (l *segLog) isDead(s *segment) bool {
	if s.live != 0 || s.readers > 0 || s.file == nil || s.deadAt > l.durable || s.lastBlock > l.durable {
		return false
	}
	i := slices.Index(l.segs, s)
	return i < len(l.segs)-1 && l.segs[i+1].firstBlock <= l.durable
}

// sparse gives the sealed segment with the fewest live bytes, when copying them
// pays: most of the log is dead, and so is most of that segment.
func (l *segLog) sparse() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segs) < segmentsCalm {
		return nil
	}
	var live int64
	var best *segment
	for _, s := range l.segs[:len(l.segs)-1] {
		live += s.live
		if s.live > 0 && s.lastBlock <= l.durable && (best == nil || s.live < best.live) {
			best = s
		}
	}
	if best == nil || 2*live > int64(len(l.segs)-1)*l.opts.SegmentBytes || 2*best.live > l.opts.SegmentBytes {
		return nil
	}
	return best
}

// segmentsCalm is the number of segments below which nothing is copied.
const segmentsCalm = 5

// liveEntry is an entry that a segment still holds.
type liveEntry struct {
	g     *group
	index uint64
}

// forward copies the live entries of a segment to the end of the log and waits
// until the copies are durable.
func (l *segLog) forward(victim *segment) error {
	l.mu.Lock()
	var entries []liveEntry
	for _, id := range l.sortedGroups() {
		g := l.groups[id]
		for i := range g.at {
			if g.at[i].seg == victim {
				entries = append(entries, liveEntry{g, g.first + uint64(i)})
			}
		}
	}
	l.mu.Unlock()
	var last uint64 // block of the newest copy
	for _, le := range entries {
		var e store.LogEntry
		err := le.g.Entry(le.index, &e)
		if errors.Is(err, store.ErrNotFound) { // cut in the meantime
			continue
		}
		if errors.Is(err, store.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		l.mu.Lock()
		if l.move(le, victim, &e) {
			last = l.block.number
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waitBlock(last)
}

// move appends the copy of an entry unless it has been cut or written anew; mu
// is held.
func (l *segLog) move(le liveEntry, victim *segment, e *store.LogEntry) bool {
	g := le.g
	for l.pending > pendingBytesMax && l.usable() == nil {
		l.synced.Wait()
	}
	if l.usable() != nil || g.last == 0 || le.index < g.first || le.index > g.last || g.at[le.index-g.first].seg != victim {
		return false
	}
	p := l.put(kindCopy, g.id, e)
	at := &g.at[le.index-g.first]
	victim.live -= int64(at.n)
	victim.deadAt = l.block.number
	*at = p
	p.seg.live += int64(p.n)
	return true
}

func (l *segLog) sortedGroups() []shard.GroupID {
	ids := make([]shard.GroupID, 0, len(l.groups))
	for id := range l.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// halfFull says whether the current segment will soon need a successor.
func (l *segLog) halfFull() bool {
	return 2*l.segs[len(l.segs)-1].tail > l.opts.SegmentBytes
}

// prepareSpare makes the next segment's file beforehand. When there is no space
// the writer will try again; that it fails then is what ends the process.
func (l *segLog) prepareSpare() {
	l.mu.Lock()
	ready := len(l.spares) > 0 || l.usable() != nil || !l.halfFull()
	l.mu.Unlock()
	if ready {
		return
	}
	name, err := l.makeSpare()
	if err != nil {
		l.log.Warn("no log segment can be prepared", "err", err)
		return
	}
	l.mu.Lock()
	l.spares = append(l.spares, name)
	l.mu.Unlock()
}
