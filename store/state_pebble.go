package store

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// formatMajor is Pebble's own ratchet. Raising it makes the directory unreadable
// for older binaries, so it moves with a release that says so.
const formatMajor = pebble.FormatTableFormatV6

const (
	// bytesPerSync is after how many bytes of a table the disk is told to begin
	// with them: the log's fsyncs must not queue behind many megabytes.
	bytesPerSync = 1 << 20
	// l0Compact is when tables over each other are merged: more make fewer bytes,
	// fewer make faster reads. Pebble counts each twice, so it begins at half.
	l0Compact = 8
	// l0Stop is where batches begin to wait for compactions.
	l0Stop = 32
)

// pebbleOptions are made for a database that only ingests: its log is off and its
// memtable stays empty.
func (s *State) pebbleOptions() *pebble.Options {
	opts := &pebble.Options{
		FS:                    pacedFS{s.fs, &pacer{layers: s.layers, quit: s.stop, fatal: s.fatal}},
		FormatMajorVersion:    formatMajor,
		DisableWAL:            true,
		MemTableSize:          1 << 20,
		L0CompactionThreshold: l0Compact,
		L0StopWritesThreshold: 2 * l0Stop,
		LBaseMaxBytes:         256 << 20,
		MaxOpenFiles:          1024,
		BytesPerSync:          bytesPerSync,
		Logger:                pebbleLogger{log: s.log, fatal: s.fatal},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { _ = s.fatal.Fail("write state", err) },
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				s.log.Error("stored state is damaged", "file", i.Path, "err", i.Details)
			},
			CompactionEnd: func(pebble.CompactionInfo) {
				select {
				case s.compacted <- struct{}{}:
				default:
				}
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
	if s.numbers.of != nil {
		opts.BlockPropertyCollectors = []func() pebble.BlockPropertyCollector{s.numbers.collector}
	}
	opts.Experimental.CompactionScheduler = s.merging
	// What a flush writes is read again by the next compaction, so it is packed
	// only lightly; not at all, it would cost a third more bytes.
	opts.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.FastestCompression }
	return opts
}

// layers is how many tables lie over each other where that is most.
func (s *State) layers() int { return int(s.db.Metrics().Levels[0].Sublevels) }

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
