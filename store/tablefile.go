package store

import (
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/internal/mono"
)

// tableWriteBytes is written at once. A table comes in blocks of some kilobytes,
// and to hand each to the system costs as much as what the system does with it.
const tableWriteBytes = 256 << 10

// tableFile is a table being written.
type tableFile struct {
	f     vfs.File
	buf   []byte
	pacer *pacer // is told what there will be to merge
}

var _ objstorage.Writable = (*tableFile)(nil)

func newTableFile(f vfs.File, p *pacer) *tableFile {
	return &tableFile{f: f, buf: make([]byte, 0, tableWriteBytes), pacer: p}
}

// Write implements [objstorage.Writable].
func (t *tableFile) Write(p []byte) error {
	for len(p) > 0 {
		n := copy(t.buf[len(t.buf):cap(t.buf)], p)
		t.buf, p = t.buf[:len(t.buf)+n], p[n:]
		if len(t.buf) == cap(t.buf) {
			if err := t.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tableFile) flush() error {
	if len(t.buf) == 0 {
		return nil
	}
	t.pacer.came(len(t.buf), mono.Now())
	_, err := t.f.Write(t.buf)
	t.buf = t.buf[:0]
	return err
}

// Finish implements [objstorage.Writable]: the bytes are durable then.
func (t *tableFile) Finish() error {
	err := t.flush()
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
