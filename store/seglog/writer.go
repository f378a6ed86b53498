package seglog

import (
	"runtime"
	"time"

	"github.com/chatnode/chatnode/internal/fault/sabotage"
)

// unit is what one write makes durable.
type unit struct {
	parts  []part
	groups []*group
	bytes  int64
	upTo   uint64 // number of its last block
}

// write is the writer's goroutine: it takes all that has gathered, writes and
// syncs it, tells who waited, and begins again. It ends when the log closes.
func (l *segLog) write() {
	defer close(l.writerDone)
	for {
		l.await()
		runtime.Gosched() // groups that are about to append share the sync
		l.mu.Lock()
		u := l.take()
		if len(u.parts) == 0 { // closing, and nothing is left
			l.synced.Broadcast()
			l.mu.Unlock()
			return
		}
		l.started = time.Now()
		l.mu.Unlock()

		err := l.fatal.Err()
		if err == nil {
			err = l.writeParts(u.parts, true)
		}
		if err != nil {
			_ = l.fatal.Fail("write log", err)
			l.fail()
			return
		}
		l.done(u)
		if err := l.mark(); err != nil {
			_ = l.fatal.Fail("write log", err)
			l.fail()
			return
		}
	}
}

// await waits until there is something to write, or the log closes.
func (l *segLog) await() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.block.open && len(l.parts) == 0 && !l.closing {
		l.idle = true
		l.work.Wait()
	}
	l.idle = false
}

// take closes the open block and takes what waits; mu is held.
func (l *segLog) take() unit {
	if l.block.open {
		l.closeBlock(0)
	}
	u := unit{parts: l.parts, groups: l.dirty, bytes: l.pending, upTo: l.nextBlock - 1}
	l.parts, l.partsFree = l.partsFree, nil
	l.dirty = nil
	for _, g := range u.groups {
		g.dirty = false
		g.syncing = g.waiting
	}
	return u
}

// writeParts writes parts to their files and, with sync, makes them durable.
func (l *segLog) writeParts(parts []part, sync bool) error {
	for i := range parts {
		p := &parts[i]
		if p.seg.file == nil {
			if err := l.activate(p.seg); err != nil {
				return err
			}
		}
		if _, err := p.seg.file.WriteAt(p.data, p.off); err != nil {
			return err
		}
		last := i == len(parts)-1 || parts[i+1].seg != p.seg
		if sync && last && !sabotage.NoFsync() {
			if err := p.seg.file.Sync(); err != nil {
				return err
			}
		}
	}
	return nil
}

// done tells everyone that a unit is durable.
func (l *segLog) done(u unit) {
	calls := l.calls[:0]
	l.mu.Lock()
	took := time.Since(l.started)
	l.started = time.Time{}
	l.durable = u.upTo
	l.pending -= u.bytes
	l.stats.Syncs++
	l.stats.SyncBytes += uint64(u.bytes)
	l.stats.SyncTime += took
	l.stats.SyncLast = took
	l.stats.SyncMax = max(l.stats.SyncMax, took)
	for _, g := range u.groups {
		if g.syncing <= g.durable {
			continue
		}
		g.durable = g.syncing
		if g.notify != nil {
			calls = append(calls, call{g.notify, g.durable})
		}
	}
	l.evict()
	clear(u.parts)
	l.partsFree = u.parts[:0]
	l.synced.Broadcast()
	l.mu.Unlock()
	for _, c := range calls {
		c.fn(c.durable)
	}
	l.calls = calls
}

// call is a notification to be made without the mutex.
type call struct {
	fn      func(uint64)
	durable uint64
}

// mark writes, when nothing else waits, an empty block that says that all before
// it is durable. Without it a damaged last block could not be told from a torn
// one. It is not synced: after a crash of the process it is there, and after a
// power cut its absence costs that distinction only.
func (l *segLog) mark() error {
	l.mu.Lock()
	if l.block.open || len(l.parts) > 0 {
		l.mu.Unlock()
		return nil
	}
	seg := l.segs[len(l.segs)-1]
	if seg.sealed {
		l.mu.Unlock()
		return nil
	}
	l.beginBlock(seg, 0)
	l.closeBlock(0)
	parts := l.parts
	l.parts = nil
	l.pending = 0
	l.mu.Unlock()
	return l.writeParts(parts, false)
}

// fail lets everyone who waits see the error.
func (l *segLog) fail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = time.Time{}
	l.synced.Broadcast()
}
