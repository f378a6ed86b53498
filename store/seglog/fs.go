package seglog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// FS is what the log needs of a file system. Tests put faults behind it.
type FS interface {
	MkdirAll(dir string) error
	List(dir string) ([]string, error)
	Create(path string) (File, error) // for reading and writing, empty
	Open(path string) (File, error)   // for reading and writing
	Rename(from, to string) error
	Remove(path string) error
	SyncDir(dir string) error
}

// File is one open file. Sync makes its data, and the metadata needed to read
// it back, durable.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Size() (int64, error)
	Close() error
}

// OSFS is the real file system.
type OSFS struct{}

// MkdirAll implements [FS].
func (OSFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// List implements [FS].
func (OSFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Create implements [FS].
func (OSFS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Open implements [FS].
func (OSFS) Open(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename implements [FS].
func (OSFS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements [FS].
func (OSFS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements [FS].
func (OSFS) SyncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

// Sync is fdatasync: the size and the blocks of a preallocated file do not
// change, and its times do not matter.
func (f osFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
