package store

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// StateOptions configure [OpenState]. The zero value is usable.
type StateOptions struct {
	Logger      *slog.Logger
	OnFatal     func(error) // told the first write error, once; the owner ends the process
	CacheBytes  int64       // of blocks in memory; 0 means DefaultCacheBytes
	BufferBytes int64       // of rows in memory that are in no table yet; 0 means DefaultBufferBytes
	FS          vfs.FS      // nil means the real file system

	// Number gives the number in which the key of a row ends, 8 bytes in big endian,
	// for rows that have one. Of two such keys that differ only there, all keys
	// between are such keys, too. A scan between them reads only what has numbers
	// of its range. It may be nil.
	Number func(key []byte) (number uint64, ok bool)
}

// The defaults of [StateOptions].
const (
	DefaultCacheBytes  = 32 << 20
	DefaultBufferBytes = 128 << 20
)

const bufferBytesMax = 1 << 30
