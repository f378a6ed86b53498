package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/store"
)

// The names of what a node keeps below its data directory.
const (
	stateDir   = "state"
	segmentDir = "log-segments"
	pebbleDir  = "log-pebble"
	boltDir    = "log-bolt"
)

// logKinds are the values of storage.log.
func logKinds() []string { return []string{"segment", "pebble", "bolt"} }

// logDirs are the directories in which a kind of log is kept. The groups' files of
// bolt stand beside a segment log that holds nothing.
func logDirs(kind string) []string {
	switch kind {
	case "pebble":
		return []string{pebbleDir}
	case "bolt":
		return []string{boltDir, segmentDir}
	}
	return []string{segmentDir}
}

// sameStorage refuses a kind of log that the directory was not begun with. Its
// replicas would find empty logs, as on a wiped disk.
func (n *Node) sameStorage() error {
	kept, err := storageKept(n.dir)
	if err != nil || len(kept) == 0 || slices.Contains(kept, n.cfg.Storage.Log) {
		return err
	}
	return chat.E("start", chat.Invalid, fmt.Sprintf(
		"this directory keeps its logs as %q; start it with storage.log: %s", kept[0], kept[0]), nil)
}

// storageKept names the kinds of log that the directory may have been begun with:
// none, one, or two when an older version was started on it with the wrong one.
func storageKept(dir *store.Dir) (kinds []string, err error) {
	there := make(map[string]bool)
	for _, name := range []string{segmentDir, pebbleDir, boltDir} {
		_, err := os.Stat(dir.Join(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		there[name] = err == nil
	}
	if there[segmentDir] && !there[boltDir] {
		kinds = append(kinds, "segment")
	}
	if there[boltDir] {
		kinds = append(kinds, "bolt")
	}
	if there[pebbleDir] {
		kinds = append(kinds, "pebble")
	}
	return kinds, nil
}

// makeDirs makes the directories of the stores, for this user alone: Pebble's own
// would be open to all, and so would what people wrote, where the operator's data
// directory is. What is there stays as it is.
func (n *Node) makeDirs() error {
	for _, name := range append(logDirs(n.cfg.Storage.Log), stateDir) {
		if err := os.Mkdir(n.dir.Join(name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return syncDir(n.dir.Path())
}

// startBytesMin is the free space without which no start is tried: Pebble repeats
// a flush that finds no room for ever while it opens. It is far below what
// operations need, which the reserve keeps.
const startBytesMin = 16 << 20

// hasRoom refuses to start on a full disk, before anything is opened.
func (n *Node) hasRoom() error {
	free, err := n.free(n.dir.Path())
	if err != nil {
		return fmt.Errorf("free space of %s: %w", n.dir.Path(), err)
	}
	if free >= startBytesMin {
		return nil
	}
	return chat.E("start", chat.DiskFull, fmt.Sprintf(
		"disk full: %d bytes free in %s; the node needs %d to start", free, n.dir.Path(), startBytesMin), nil)
}
