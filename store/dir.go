package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// The names within a data directory.
const (
	lockFile     = "LOCK"
	identityFile = "identity"
	promiseFile  = "promises"
)

// ErrLocked means another process has the data directory.
var ErrLocked = chat.E("open data directory", chat.Conflict,
	"another process uses this data directory: stop it, or give this node a directory of its own", nil)

// ErrIdentity means the directory belongs to another node or cluster.
var ErrIdentity = chat.E("open data directory", chat.WrongClust,
	"this data directory belongs to another node or cluster: give this node its own directory", nil)

// Dir is the data directory of one node: locked for this process, with the
// identity of the node and the promises of its replicas. Everything else of the
// node lies in subdirectories.
type Dir struct {
	path string
	lock *os.File

	mu       sync.Mutex // guards the rest
	identity Identity
	promises map[shard.GroupID]Promise
}

// OpenDir makes the directory if there is none, takes its lock and reads what
// it holds. The lock ends with the process, however that ends.
func OpenDir(path string) (*Dir, error) {
	const op = "open data directory"
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, chat.E(op, chat.Invalid, "the data directory cannot be made: check the path and its owner", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, chat.E(op, chat.Invalid, "the data directory cannot be written: check its owner and rights", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, chat.E(op, chat.Internal, "the data directory cannot be locked", err)
	}
	d := &Dir{path: path, lock: lock}
	if err := d.read(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

func (d *Dir) read() error {
	b, err := os.ReadFile(filepath.Join(d.path, identityFile))
	switch {
	case err == nil:
		if d.identity, err = readIdentity(b); err != nil {
			return err
		}
	case !errors.Is(err, os.ErrNotExist):
		return chat.E("open data directory", chat.Invalid, "the identity file cannot be read", err)
	}
	d.promises = make(map[shard.GroupID]Promise)
	b, err = os.ReadFile(filepath.Join(d.path, promiseFile))
	switch {
	case err == nil:
		d.promises, err = readPromises(b)
		return err
	case !errors.Is(err, os.ErrNotExist):
		return chat.E("open data directory", chat.Invalid, "the file of promises cannot be read", err)
	}
	return nil
}

// Path is the directory; Join a path below it.
func (d *Dir) Path() string { return d.path }

// Join gives the path of a name within the directory.
func (d *Dir) Join(name string) string { return filepath.Join(d.path, name) }

// Close gives the lock back.
func (d *Dir) Close() error { return d.lock.Close() }

// replaceFile writes a file so that a crash leaves the old or the new content.
func replaceFile(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	parent, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}
