package store

import (
	"bufio"

	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// tableWriteBytes is written at once. A table comes in blocks of some kilobytes,
// and to hand each to the system costs as much as what the system does with it.
const tableWriteBytes = 256 << 10

// tableFile is a table being written.
type tableFile struct {
	f vfs.File
	w *bufio.Writer // to f
}

var _ objstorage.Writable = (*tableFile)(nil)

func newTableFile(f vfs.File) *tableFile {
	return &tableFile{f: f, w: bufio.NewWriterSize(f, tableWriteBytes)}
}

// Write implements [objstorage.Writable].
func (t *tableFile) Write(p []byte) error {
	_, err := t.w.Write(p)
	return err
}

// Finish implements [objstorage.Writable]: the bytes are durable then.
func (t *tableFile) Finish() error {
	err := t.w.Flush()
	if err == nil {
		err = t.f.Sync()
	}
	if cerr := t.f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Abort implements [objstorage.Writable].
func (t *tableFile) Abort() { _ = t.f.Close() }
