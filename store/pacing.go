package store

import (
	"math"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/internal/mono"
)

// Merging what much load has left behind would take a processor and the disk for
// minutes, also from the little load that comes after. It is paced by what comes
// in: that many times the bytes of new tables, and a little for what is left. With
// very many tables over each other reads suffer, and it goes as fast as it can
// (docs/adr/0006).
const (
	paceBytes  = 8 << 20 // of merged tables a second, when nothing comes in
	paceTimes  = 5       // as many bytes for each of a new table
	paceOver   = 10 * time.Second
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
	fresh  float64    // bytes of new tables, of which paceOver leaves 1/e
	faded  int64      // when fresh was that, as mono.Now
	urgent bool
}

// came tells of bytes of a new table.
func (p *pacer) came(n int, now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fade(now)
	p.fresh += float64(n)
}

// fade forgets new bytes with time; mu is held.
func (p *pacer) fade(now int64) {
	p.fresh *= math.Exp(-float64(now-p.faded) / float64(paceOver))
	p.faded = now
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

// look asks now and then how many tables lie over each other, without the lock:
// flushes shall not wait for the answer.
func (p *pacer) look(now int64) {
	p.mu.Lock()
	due := time.Duration(now-p.looked) >= paceLook
	if due {
		p.fade(now)
		p.looked = now
	}
	p.mu.Unlock()
	if !due {
		return
	}
	urgent := p.layers() >= paceLayers
	p.mu.Lock()
	p.urgent = urgent
	p.mu.Unlock()
}

// book gives n bytes their time and says how long to wait for it.
func (p *pacer) book(n int, now int64) time.Duration {
	p.look(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.urgent {
		p.free = now
		return 0
	}
	rate := paceBytes + paceTimes*p.fresh/paceOver.Seconds()
	p.free = max(p.free, now-int64(paceBurst)) + int64(float64(n)/rate*float64(time.Second))
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
