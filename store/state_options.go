package store

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// StateOptions configure [OpenState]. The zero value is usable.
type StateOptions struct {
	Logger        *slog.Logger
	OnFatal       func(error) // told the first write error, once; the owner ends the process
	CacheBytes    int64       // of blocks in memory; 0 means DefaultCacheBytes
	MemtableBytes uint64      // 0 means DefaultMemtableBytes
	// WAL says whether batches are also written to a log of Pebble's own. Without
	// it the state on disk is as old as the last flush and the Raft log replays
	// the rest; either way a batch costs no fsync.
	WAL WALMode
	FS  vfs.FS // nil means the real file system
}

// WALMode is how the state survives a crash of the process.
type WALMode uint8

// The modes.
const (
	WALDefault WALMode = iota // the one that measured best, see docs/storage.md
	WALOn
	WALOff
)

// The defaults of [StateOptions].
const (
	DefaultCacheBytes    = 32 << 20
	DefaultMemtableBytes = 64 << 20
)
