package seglog

import (
	"hash/crc32"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// chunk is a run of a segment's bytes in memory: first what the writer writes,
// then a cache. Its bytes are given out to readers and never used again for
// something else.
type chunk struct {
	seg  *segment
	off  int64  // of buf[0] in the file
	buf  []byte // nil when it left the cache
	last uint64 // number of its newest block
}

// part is a closed block, or several in a row, for the writer.
type part struct {
	c    *chunk
	seg  *segment
	off  int64
	data []byte
}

// openBlock is the block that records are being added to.
type openBlock struct {
	open   bool
	number uint64
	start  int // in the chunk
	sums   uint32
}

// pos is where a record is.
type pos struct {
	seg *segment
	c   *chunk // when it is, or was, in memory
	off uint32
	n   uint32
}

// put adds a record and says where it is; mu is held. It does no I/O: that is
// the writer's part, which it wakes.
func (l *segLog) put(kind recordKind, g shard.GroupID, e *store.LogEntry) pos {
	n := recordBytes(e)
	seg := l.segs[len(l.segs)-1]
	// An oversized record has a segment of its own and stretches it.
	room := int64(n + 2*blockHeadBytes + 2*blockAlign)
	if l.tail()+room > l.opts.SegmentBytes && seg.lastBlock > seg.firstBlock {
		l.rotate()
		seg = l.segs[len(l.segs)-1]
	}
	return l.putIn(seg, kind, g, e, n)
}

// putIn adds a record to the block that is open in seg, opening one if needed.
func (l *segLog) putIn(seg *segment, kind recordKind, g shard.GroupID, e *store.LogEntry, n int) pos {
	if l.block.open && !l.fits(n) {
		l.closeBlock(0)
	}
	if !l.block.open {
		l.beginBlock(seg, n)
	}
	c := l.cur
	start := len(c.buf)
	c.buf = appendRecord(c.buf, seg.seed, kind, g, e)
	l.block.sums = crc32.Update(l.block.sums, crcTable, c.buf[start:start+recordSumBytes])
	l.wakeWriter()
	return pos{seg: seg, c: c, off: uint32(c.off + int64(start)), n: uint32(n)}
}

// tail is where the next byte goes in the current segment.
func (l *segLog) tail() int64 {
	if l.block.open {
		return l.cur.off + int64(len(l.cur.buf))
	}
	return l.segs[len(l.segs)-1].tail
}

// fits says whether n bytes and the end of a block fit into the current chunk.
func (l *segLog) fits(n int) bool {
	return l.cur != nil && cap(l.cur.buf)-len(l.cur.buf) >= n+blockAlign
}

func (l *segLog) beginBlock(seg *segment, n int) {
	need := blockHeadBytes + n
	if l.cur == nil || l.cur.seg != seg || !l.fits(need) {
		l.newChunk(seg, need+blockAlign)
	}
	c := l.cur
	l.block = openBlock{open: true, number: l.nextBlock, start: len(c.buf), sums: seg.seed}
	l.nextBlock++
	c.buf = c.buf[:len(c.buf)+blockHeadBytes]
	c.last = l.block.number
	if seg.firstBlock == 0 {
		seg.firstBlock = l.block.number
	}
	seg.lastBlock = l.block.number
}

// closeBlock completes the open block and queues it for the writer.
func (l *segLog) closeBlock(flags uint32) {
	c, b := l.cur, l.block
	length := len(c.buf) - b.start - blockHeadBytes
	for len(c.buf)%blockAlign != 0 {
		c.buf = append(c.buf, 0)
	}
	blockHeader{
		flags: flags, number: b.number, durable: l.durable,
		length: uint32(length), sums: b.sums,
	}.put(c.buf[b.start:], c.seg.seed)
	l.block.open = false
	c.seg.tail = c.off + int64(len(c.buf))
	l.pending += int64(len(c.buf) - b.start)
	if n := len(l.parts); n > 0 && l.parts[n-1].c == c {
		p := &l.parts[n-1]
		p.data = c.buf[int(p.off-c.off):]
		return
	}
	l.parts = append(l.parts, part{c: c, seg: c.seg, off: c.off + int64(b.start), data: c.buf[b.start:]})
}

// newChunk begins another chunk at the tail of seg, and lets old ones leave the
// cache.
func (l *segLog) newChunk(seg *segment, need int) {
	size := max(int(min(chunkBytes, l.opts.SegmentBytes)), need)
	c := &chunk{seg: seg, off: seg.tail, buf: make([]byte, 0, size)}
	l.cur = c
	l.cache = append(l.cache, c)
	l.cacheBytes += int64(cap(c.buf))
	l.evict()
	if len(l.spares) == 0 && l.halfFull() {
		l.wakeKeeper()
	}
}

// evict lets chunks that are durable leave, oldest first.
func (l *segLog) evict() {
	n := 0
	for n < len(l.cache)-1 && l.cacheBytes > l.opts.CacheBytes && l.cache[n].last <= l.durable {
		l.cacheBytes -= int64(cap(l.cache[n].buf))
		l.cache[n].buf = nil
		l.cache[n] = nil
		n++
	}
	l.cache = l.cache[n:]
}

// rotate seals the current segment and begins the next one with a checkpoint.
func (l *segLog) rotate() {
	seg := l.segs[len(l.segs)-1]
	if !l.block.open {
		l.beginBlock(seg, 0)
	}
	l.closeBlock(flagSealed)
	seg.sealed = true
	l.beginSegment(seg.header.number + 1)
}

// beginSegment adds a segment and writes the checkpoint as its first block.
func (l *segLog) beginSegment(number uint64) {
	seg := newSegment(number)
	l.segs = append(l.segs, seg)
	e := store.LogEntry{Data: appendCheckpoint(nil, l.groups)}
	l.putIn(seg, kindCheckpoint, 0, &e, recordBytes(&e))
	l.closeBlock(0)
}

func (l *segLog) wakeWriter() {
	if l.idle {
		l.idle = false
		l.work.Signal()
	}
}
