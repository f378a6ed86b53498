package store

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/internal/mono"
)

// Merging what much load has left behind would take a processor and the disk for
// minutes, also from the little load that comes after. It has all the time that
// there is, so it is slow, until so many tables lie over each other that reads
// suffer; then it goes as fast as it can (docs/adr/0006).
const (
	paceBytes  = 8 << 20 // of merged tables a second
	paceBurst  = 50 * time.Millisecond
	paceLayers = 24 // from so many tables over each other on it is not paced
	paceLook   = 250 * time.Millisecond
)

// mergeCategory is how Pebble names what compactions write; flushes and its own
// records go by other names.
const mergeCategory = "pebble-compaction"

// pacer spreads writes over time.
type pacer struct {
	layers func() int // how many tables lie over each other
	quit   <-chan struct{}
	fatal  *Fatal

	mu     sync.Mutex // guards what follows
	free   int64      // when the bytes so far have had their time, as mono.Now
	looked int64      // when layers was asked last, as mono.Now
	urgent bool
}

// wait returns when n bytes more may be written.
func (p *pacer) wait(n int) {
	d := p.book(n, mono.Now())
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.quit:
	case <-p.fatal.Failed():
	}
}

// book gives n bytes their time and says how long to wait for it.
func (p *pacer) book(n int, now int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Duration(now-p.looked) >= paceLook {
		p.looked, p.urgent = now, p.layers() >= paceLayers
	}
	if p.urgent {
		p.free = now
		return 0
	}
	p.free = max(p.free, now-int64(paceBurst)) + int64(float64(n)/paceBytes*float64(time.Second))
	return time.Duration(p.free - now)
}

// pacedFS is a file system in which compactions write at the pacer's speed.
type pacedFS struct {
	vfs.FS
	pacer *pacer
}

// Unwrap implements [vfs.FS].
func (f pacedFS) Unwrap() vfs.FS { return f.FS }

// Create implements [vfs.FS].
func (f pacedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	if err == nil && category == mergeCategory {
		file = pacedFile{file, f.pacer}
	}
	return file, err
}

type pacedFile struct {
	vfs.File
	pacer *pacer
}

// Write implements [vfs.File].
func (f pacedFile) Write(b []byte) (int, error) {
	f.pacer.wait(len(b))
	return f.File.Write(b)
}

// WriteAt implements [vfs.File].
func (f pacedFile) WriteAt(b []byte, at int64) (int, error) {
	f.pacer.wait(len(b))
	return f.File.WriteAt(b, at)
}
