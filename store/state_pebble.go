package store

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// walDefault is the measured choice of docs/storage.md.
const walDefault = true

// formatMajor is Pebble's own ratchet. Raising it makes the directory unreadable
// for older binaries, so it moves with a release that says so.
const formatMajor = pebble.FormatTableFormatV6

func (s *State) pebbleOptions(o StateOptions) *pebble.Options {
	memtable := o.MemtableBytes
	if memtable == 0 {
		memtable = DefaultMemtableBytes
	}
	opts := &pebble.Options{
		FS:                          s.fs,
		FormatMajorVersion:          formatMajor,
		DisableWAL:                  !s.wal,
		MemTableSize:                memtable,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               256 << 20,
		MaxOpenFiles:                1024,
		// The log's fsyncs must not queue behind a flush of many megabytes.
		BytesPerSync: 1 << 20,
		// Two cores serve everything: one compaction at a time is enough and
		// leaves the other core to the log.
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
		Logger:                     pebbleLogger{log: s.log, fatal: s.fatal},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { _ = s.fatal.Fail("write state", err) },
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				s.log.Error("stored state is damaged", "file", i.Path, "err", i.Details)
			},
			WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
				s.log.Warn("state writes wait for the disk", "reason", i.Reason)
			},
		},
	}
	for i := range opts.Levels {
		l := &opts.Levels[i]
		l.BlockSize = 16 << 10
		l.IndexBlockSize = 64 << 10
		l.FilterPolicy = bloom.FilterPolicy(10)
		l.FilterType = pebble.TableFilter
	}
	// What a flush writes is read again by the next compaction: packing it twice
	// costs more processor than its bytes are worth.
	opts.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	return opts
}

// tableOptions are those of the tables that an install writes: the same as
// compactions write for the last level.
func (s *State) tableOptions() sstable.WriterOptions {
	return s.opts.MakeWriterOptions(len(s.opts.Levels)-1, s.db.TableFormat())
}

// pebbleLogger passes what Pebble says on. Pebble calls Fatalf for a failed
// write and expects the process to end; here the owner ends it, and the state
// takes nothing until then.
type pebbleLogger struct {
	log   *slog.Logger
	fatal *Fatal
}

var errPebble = errors.New("storage engine")

func (l pebbleLogger) Infof(format string, args ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Warn("storage engine reports an error", "err", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	_ = l.fatal.Fail("write state", fmt.Errorf("%w: %s", errPebble, fmt.Sprintf(format, args...)))
}
