package seglog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// segment is one file of the log.
type segment struct {
	header segHeader
	seed   uint32
	file   File  // nil until the writer has made it
	tail   int64 // where the next block goes

	live       int64  // bytes of entries that can be read
	deadAt     uint64 // block of the last record that made an entry here dead
	firstBlock uint64
	lastBlock  uint64
	readers    int // that use file without the mutex
	sealed     bool
}

const (
	segSuffix   = ".log"
	sparePrefix = "spare-"
)

func segName(number uint64) string { return fmt.Sprintf("%016x%s", number, segSuffix) }

func parseSegName(name string) (number uint64, ok bool) {
	hex, ok := strings.CutSuffix(name, segSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil && segName(n) == name
}

// newSegment begins the next use of a segment file. The file is made by the
// writer, so that appends never wait for one.
func newSegment(number uint64) *segment {
	s := &segment{header: segHeader{number: number}, tail: segHeadBytes}
	_, _ = rand.Read(s.header.salt[:]) // it does not fail, see its documentation
	s.seed = s.header.seed()
	return s
}

// activate gives a segment its file: a spare one or a new one. The header is
// durable before the file has its name, so a named file without a good header
// is damaged.
func (l *segLog) activate(s *segment) error {
	l.mu.Lock()
	spare := ""
	if n := len(l.spares); n > 0 {
		spare = l.spares[n-1]
		l.spares = l.spares[:n-1]
	}
	l.mu.Unlock()
	var err error
	if spare == "" {
		if spare, err = l.makeSpare(); err != nil {
			return err
		}
	}
	from := filepath.Join(l.dir, spare)
	f, err := l.fs.Open(from)
	if err != nil {
		return err
	}
	if err := l.initSegment(f, s, from); err != nil {
		return errors.Join(err, f.Close())
	}
	l.mu.Lock()
	s.file = f
	l.mu.Unlock()
	l.wakeKeeper()
	return nil
}

func (l *segLog) initSegment(f File, s *segment, from string) error {
	if _, err := f.WriteAt(s.header.encode(), 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := l.fs.Rename(from, filepath.Join(l.dir, segName(s.header.number))); err != nil {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// zeroBytes is how much is written at once. The system's cache keeps what one
// write brought as one piece, and accounts all of it as written again whenever a
// part changes.
const zeroBytes = 16 << 10

// makeSpare writes a file of zeros. Zeros that were written, not merely
// allocated, are what makes later syncs cheap: overwriting them changes no
// metadata of the file system.
func (l *segLog) makeSpare() (name string, err error) {
	l.mu.Lock()
	l.spareNo++
	name = sparePrefix + strconv.FormatUint(l.spareNo, 10)
	l.mu.Unlock()
	path := filepath.Join(l.dir, name)
	f, err := l.fs.Create(path)
	if err != nil {
		return "", err
	}
	zeros := make([]byte, zeroBytes)
	for off := int64(0); off < l.opts.SegmentBytes && err == nil; {
		n := min(int64(len(zeros)), l.opts.SegmentBytes-off)
		_, err = f.WriteAt(zeros[:n], off)
		off += n
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, l.fs.Remove(path))
	}
	return name, nil
}
