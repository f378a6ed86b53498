package storetest

import (
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/chatnode/chatnode/store/seglog"
)

// CrashFS is a file system in memory that knows what a power cut would leave:
// what was synced for certain, and of the rest any subset of pages. It can also
// fail and run full on command.
type CrashFS struct {
	mu    sync.Mutex
	files map[string]*crashFile // as the process sees them
	names map[string]*crashFile // as a power cut leaves them: synced directories
	// Fail, when set, is asked before every operation that changes something;
	// its error is the operation's.
	Fail func(op, path string) error
	// IgnoreSync makes Sync do nothing: the negative control of a crash test.
	IgnoreSync bool
}

type crashFile struct {
	fs     *CrashFS
	path   string
	data   []byte // as the process sees it
	synced []byte // as a power cut leaves it at least
}

const crashPage = 4096

var _ seglog.FS = (*CrashFS)(nil)

// NewCrashFS gives an empty one.
func NewCrashFS() *CrashFS {
	return &CrashFS{files: make(map[string]*crashFile), names: make(map[string]*crashFile)}
}

// Cut gives the file system as it could be found after a power cut at this
// moment: every unsynced page is kept or lost by the toss of rng.
func (c *CrashFS) Cut(rng *rand.Rand) *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	after := NewCrashFS()
	names := c.names
	if rng.IntN(2) == 0 { // the directory may have reached the disk as well
		names = c.files
	}
	for _, path := range sortedPaths(names) {
		f := names[path]
		data := make([]byte, len(f.synced))
		copy(data, f.synced)
		if len(f.data) > len(data) && rng.IntN(2) == 0 {
			data = append(data, make([]byte, len(f.data)-len(data))...)
		}
		for off := 0; off < min(len(data), len(f.data)); off += crashPage {
			if end := min(off+crashPage, len(data), len(f.data)); rng.IntN(2) == 0 {
				copy(data[off:end], f.data[off:end])
			}
		}
		n := &crashFile{fs: after, path: path, data: data, synced: slices.Clone(data)}
		after.files[path], after.names[path] = n, n
	}
	return after
}

func sortedPaths(m map[string]*crashFile) []string {
	paths := make([]string, 0, len(m))
	for p := range m {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// Paths lists the files.
func (c *CrashFS) Paths() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sortedPaths(c.files)
}

// Bytes gives the content of a file, to be looked at or damaged in place.
func (c *CrashFS) Bytes(path string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.files[path].data
}

// Clone copies the file system as the process sees it.
func (c *CrashFS) Clone() *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := NewCrashFS()
	for path, f := range c.files {
		cf := &crashFile{fs: n, path: path, data: slices.Clone(f.data), synced: slices.Clone(f.data)}
		n.files[path], n.names[path] = cf, cf
	}
	return n
}

func (c *CrashFS) fail(op, path string) error {
	if c.Fail != nil {
		return c.Fail(op, path)
	}
	return nil
}

// MkdirAll implements [seglog.FS].
func (c *CrashFS) MkdirAll(string) error { return nil }

// List implements [seglog.FS].
func (c *CrashFS) List(dir string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, p := range sortedPaths(c.files) {
		if filepath.Dir(p) == dir {
			names = append(names, filepath.Base(p))
		}
	}
	return names, nil
}

// Create implements [seglog.FS].
func (c *CrashFS) Create(path string) (seglog.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fail("create", path); err != nil {
		return nil, err
	}
	f := &crashFile{fs: c, path: path}
	c.files[path] = f
	return f, nil
}

// Open implements [seglog.FS].
func (c *CrashFS) Open(path string) (seglog.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.files[path]
	if !ok {
		return nil, os.ErrNotExist
	}
	return f, nil
}

// Rename implements [seglog.FS].
func (c *CrashFS) Rename(from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fail("rename", from); err != nil {
		return err
	}
	f, ok := c.files[from]
	if !ok {
		return os.ErrNotExist
	}
	delete(c.files, from)
	c.files[to] = f
	return nil
}

// Remove implements [seglog.FS].
func (c *CrashFS) Remove(path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fail("remove", path); err != nil {
		return err
	}
	delete(c.files, path)
	return nil
}

// SyncDir implements [seglog.FS].
func (c *CrashFS) SyncDir(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fail("syncdir", dir); err != nil {
		return err
	}
	clear(c.names)
	maps.Copy(c.names, c.files)
	return nil
}

func (f *crashFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off < 0 || off > int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.fail("write", f.path); err != nil {
		return 0, err
	}
	if end := int(off) + len(b); end > len(f.data) {
		f.data = append(f.data, make([]byte, end-len(f.data))...)
	}
	return copy(f.data[off:], b), nil
}

func (f *crashFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.fail("sync", f.path); err != nil {
		return err
	}
	if !f.fs.IgnoreSync {
		f.synced = slices.Clone(f.data)
	}
	return nil
}

func (f *crashFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *crashFile) Close() error { return nil }
