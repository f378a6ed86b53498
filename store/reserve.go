package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"
)

// ReserveConfig configures a [Reserve].
type ReserveConfig struct {
	Dir      string
	BytesMin uint64        // below this much free space the node takes no writes; 0 switches it off
	Interval time.Duration // between looks
	Logger   *slog.Logger
	// Free gives the free bytes of the file system of dir; nil asks it.
	Free func(dir string) (uint64, error)
}

// DefaultReserveInterval is the default of [ReserveConfig].Interval.
const DefaultReserveInterval = time.Second

// Reserve watches the free space of the data directory. While it is below the
// reserve the node refuses proposals with disk_full and goes on reading; the
// log's preallocated segments and the reserve itself carry what is under way.
type Reserve struct {
	cfg  ReserveConfig
	full atomic.Bool
	free atomic.Uint64
}

// NewReserve takes a first look, so that Full is right from the start.
func NewReserve(cfg ReserveConfig) (*Reserve, error) {
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultReserveInterval
	}
	if cfg.Free == nil {
		cfg.Free = FreeBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Reserve{cfg: cfg}
	if err := r.Poll(); err != nil {
		return nil, err
	}
	return r, nil
}

// Full reports whether proposals are to be refused. It costs one atomic load.
func (r *Reserve) Full() bool { return r.full.Load() }

// Free is the free space of the last look, in bytes.
func (r *Reserve) Free() uint64 { return r.free.Load() }

// Run looks again at every interval until ctx ends.
func (r *Reserve) Run(ctx context.Context) {
	t := time.NewTicker(r.cfg.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := r.Poll(); err != nil {
				r.cfg.Logger.ErrorContext(ctx, "free space cannot be read", "err", err)
			}
		}
	}
}

// Poll looks once. Writes come back when an eighth more than the reserve is
// free, so that the node does not flap at the edge.
func (r *Reserve) Poll() error {
	free, err := r.cfg.Free(r.cfg.Dir)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", r.cfg.Dir, err)
	}
	r.free.Store(free)
	was := r.full.Load()
	full := free < r.cfg.BytesMin || was && free < r.cfg.BytesMin+r.cfg.BytesMin/8
	if full != was {
		r.full.Store(full)
		r.cfg.Logger.Warn("free space crossed the reserve", "full", full, "free_bytes", free, "reserve_bytes", r.cfg.BytesMin)
	}
	return nil
}

// FreeBytes is the space that this process may still take on dir's file system.
func FreeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
