package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// Config bounds and times a host. Start from [DefaultConfig].
type Config struct {
	Heartbeat     time.Duration `mapstructure:"heartbeat"`      // silence after which a leader is replaced; also its lease
	CommitTimeout time.Duration `mapstructure:"commit_timeout"` // how late an idle follower learns of a commit

	QueueCommandsMax int `mapstructure:"queue_commands_max"` // waiting for one group's proposer
	QueueBytesMax    int `mapstructure:"queue_bytes_max"`
	InFlightMax      int `mapstructure:"in_flight_max"` // entries of one proposer in Raft at a time
	ReadersMax       int `mapstructure:"readers_max"`   // waiting for a group's quorum round

	LogBytesMax        int64         `mapstructure:"log_bytes_max"`  // of one group; above it the log is cut
	LogBytesKeep       int64         `mapstructure:"log_bytes_keep"` // what a cut leaves for followers that lag
	LogAgeMax          time.Duration `mapstructure:"log_age_max"`    // without a cut, after which there is one to what is kept
	InstallBytesPerSec int64         `mapstructure:"install_bytes_per_sec"`

	SlowWrite  time.Duration `mapstructure:"slow_write"`  // a log write this slow moves leaderships away
	StuckWrite time.Duration `mapstructure:"stuck_write"` // and this slow ends the process

	BoltDir string `mapstructure:"-"`    // where Bolt logs live; "" puts the meta group into the shared log, too
	BoltAll bool   `mapstructure:"bolt"` // all groups in Bolt files of their own
}

// DefaultConfig is right for a cluster in one place.
func DefaultConfig() Config {
	return Config{
		Heartbeat:          time.Second,
		CommitTimeout:      500 * time.Millisecond,
		QueueCommandsMax:   8192,
		QueueBytesMax:      4 << 20,
		InFlightMax:        1,
		ReadersMax:         16 << 10,
		LogBytesMax:        64 << 20,
		LogBytesKeep:       32 << 20,
		LogAgeMax:          time.Hour,
		InstallBytesPerSec: 256 << 20,
		SlowWrite:          2 * time.Second,
		StuckWrite:         15 * time.Second,
	}
}

// Validate reports every fault under its key.
func (c Config) Validate() error {
	var errs []error
	atLeast := func(key string, v, low int64) {
		if v < low {
			errs = append(errs, fmt.Errorf("%s: %d is below %d", key, v, low))
		}
	}
	atLeast("heartbeat", int64(c.Heartbeat), int64(20*time.Millisecond))
	atLeast("commit_timeout", int64(c.CommitTimeout), int64(time.Millisecond))
	atLeast("queue_commands_max", int64(c.QueueCommandsMax), 1)
	atLeast("queue_bytes_max", int64(c.QueueBytesMax), fsm.CommandBytesMax)
	atLeast("in_flight_max", int64(c.InFlightMax), 1)
	atLeast("readers_max", int64(c.ReadersMax), 1)
	atLeast("log_bytes_max", c.LogBytesMax, 1)
	atLeast("log_bytes_keep", c.LogBytesKeep, 0)
	atLeast("log_age_max", int64(c.LogAgeMax), int64(time.Second))
	atLeast("slow_write", int64(c.SlowWrite), int64(10*time.Millisecond))
	if c.StuckWrite < c.SlowWrite {
		errs = append(errs, fmt.Errorf("stuck_write: %v is below slow_write = %v", c.StuckWrite, c.SlowWrite))
	}
	if c.BoltAll && c.BoltDir == "" {
		errs = append(errs, errors.New("bolt: needs a directory"))
	}
	return errors.Join(errs...)
}

// Promises keeps, apart from the log, what replicas have promised others;
// *store.Dir is one.
type Promises interface {
	Promise(g shard.GroupID) (p store.Promise, ok bool)
	SetPromise(g shard.GroupID, p store.Promise) error
	Forget(g shard.GroupID) error
}

// Deps are what a host works with.
type Deps struct {
	Cluster string
	NodeID  shard.NodeID
	Logs    store.Log
	State   *store.State
	Machine func(shard.GroupID) fsm.Machine
	// Listener yields connections that begin with transport.FirstByte, Dial makes
	// them; TLS, where it is used, is on both already.
	Listener   net.Listener
	Dial       func(ctx context.Context, addr string) (net.Conn, error)
	Addresses  func(shard.NodeID) string                  // where a node's peer port is now
	VerifyPeer func(id shard.NodeID, conn net.Conn) error // nil: names are taken as given
	Promises   Promises                                   // nil: none are kept
	Fatal      func(error)                                // the node has to end; called at most once
	Logger     *slog.Logger
	Metrics    Metrics
	Now        func() time.Time // stamps proposals; nil is time.Now
}

// Metrics are called on hot paths and must be cheap. Each may be nil.
type Metrics struct {
	Proposed  func(g shard.GroupID, commands, bytes int)                      // an entry was handed to Raft
	Committed func(g shard.GroupID, commands int, took time.Duration)         // and was applied
	Refused   func(g shard.GroupID)                                           // a proposal met a full queue
	Led       func(g shard.GroupID, term uint64)                              // this node leads
	Lost      func(g shard.GroupID)                                           // no longer
	ReadRound func(g shard.GroupID, readers int, took time.Duration, ok bool) // one quorum round
	Cut       func(g shard.GroupID, first uint64)                             // the log begins later now
	Installed func(g shard.GroupID, bytes int64)                              // a snapshot came in
	PeerDead  func(id shard.NodeID)                                           // a peer's process has ended
}
