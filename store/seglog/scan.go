package seglog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/chatnode/chatnode/store"
)

// segEnd says how the readable blocks of a segment end.
type segEnd uint8

const (
	endOpen   segEnd = iota // with something that is no good next block
	endSealed               // with the block that says so
)

// segment replays the blocks of s. adopt is set when the segment before s is
// not there, so that its checkpoint counts.
func (r *replay) segment(s *segment, adopt bool) (segEnd, error) {
	size, err := s.file.Size()
	if err != nil {
		return endOpen, err
	}
	var buf []byte
	for {
		h, payload, next, err := readBlock(s, buf, size)
		if err != nil || payload == nil {
			return endOpen, err
		}
		buf = payload[:0]
		first := s.firstBlock == 0
		if !r.follows(h.number, first && adopt) {
			return endOpen, nil
		}
		if err := r.block(s, payload, first, adopt); err != nil {
			return endOpen, err
		}
		if first {
			s.firstBlock = h.number
		}
		s.lastBlock, r.last = h.number, h.number
		s.tail = next
		if h.flags&flagSealed != 0 {
			s.sealed = true
			return endSealed, nil
		}
	}
}

// follows says whether a block's number may come after the last one: the next
// of the same epoch, or one of a later epoch.
func (r *replay) follows(number uint64, adopt bool) bool {
	if adopt {
		return number > r.last
	}
	return number == r.last+1 || number>>epochShift > r.last>>epochShift
}

// readBlock reads and verifies the block at the tail of s. payload is nil when
// there is no good one.
func readBlock(s *segment, buf []byte, size int64) (h blockHeader, payload []byte, next int64, err error) {
	var head [blockHeadBytes]byte
	if s.tail+blockHeadBytes > size {
		return h, nil, 0, nil
	}
	if err := readFull(s.file, head[:], s.tail); err != nil {
		return h, nil, 0, err
	}
	h, ok := readBlockHeader(head[:], s.seed)
	start := s.tail + blockHeadBytes
	if !ok || int64(h.length) > size-start {
		return h, nil, 0, nil
	}
	next = (start + int64(h.length) + blockAlign - 1) / blockAlign * blockAlign
	if next > size {
		return h, nil, 0, nil
	}
	n := int(next - start)
	if cap(buf) < n+1 {
		buf = make([]byte, n+1) // never nil
	}
	payload = buf[:n]
	if err := readFull(s.file, payload, start); err != nil {
		return h, nil, 0, err
	}
	for _, z := range payload[h.length:] {
		if z != 0 {
			return h, nil, 0, nil
		}
	}
	payload = payload[:h.length]
	if !goodRecords(payload, s.seed, h.sums) {
		return h, nil, 0, nil
	}
	return h, payload, next, nil
}

// readFull reads len(b) bytes; an end of the file is as bad as a failed read.
func readFull(f File, b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// goodRecords verifies every record of a block and the sum of their checksums.
func goodRecords(b []byte, seed, sums uint32) bool {
	got := seed
	for len(b) > 0 {
		_, sum, n, ok := readRecord(b, seed, true)
		if !ok {
			return false
		}
		var le [4]byte
		binary.LittleEndian.PutUint32(le[:], sum)
		got = crc32.Update(got, crcTable, le[:])
		b = b[n:]
	}
	return got == sums
}

// block applies the records of a verified block.
func (r *replay) block(s *segment, b []byte, first, adopt bool) error {
	off := s.tail + blockHeadBytes
	for len(b) > 0 {
		rec, _, n, _ := readRecord(b, s.seed, false)
		switch {
		case first:
			cp, ok := readCheckpoint(rec.entry.Data)
			if rec.kind != kindCheckpoint || !ok {
				return store.Corrupt(segName(s.header.number)+": checkpoint", nil)
			}
			if err := r.checkpoint(cp, adopt); err != nil {
				return err
			}
			first = false
		default:
			if err := r.record(&rec, pos{seg: s, off: uint32(off), n: uint32(n)}); err != nil {
				return err
			}
		}
		b = b[n:]
		off += int64(n)
	}
	if first {
		return store.Corrupt(segName(s.header.number)+": no checkpoint", nil)
	}
	return nil
}

// maxDurable searches the rest of a segment for block headers of its present
// use and gives the highest number that they call durable.
func maxDurable(s *segment, from int64) (uint64, error) {
	size, err := s.file.Size()
	if err != nil {
		return 0, err
	}
	var most uint64
	from = (from + blockAlign - 1) / blockAlign * blockAlign
	buf := make([]byte, max(0, min(1<<20, size-from)))
	for off := from; off+blockHeadBytes <= size; {
		b := buf[:min(int64(len(buf)), size-off)]
		if err := readFull(s.file, b, off); err != nil {
			return 0, err
		}
		i := 0
		for ; i+blockHeadBytes <= len(b); i += blockAlign {
			if binary.LittleEndian.Uint32(b[i:]) != blockMagic {
				continue
			}
			if h, ok := readBlockHeader(b[i:], s.seed); ok {
				most = max(most, h.durable)
			}
		}
		off += int64(i)
	}
	return most, nil
}
