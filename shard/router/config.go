package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

// Config bounds a router. Start from [DefaultConfig].
type Config struct {
	ProposalsMax int           `mapstructure:"proposals_max"` // in flight and waiting on this node
	BytesMax     int64         `mapstructure:"bytes_max"`     // of their commands
	ReadsMax     int           `mapstructure:"reads_max"`     // at once
	Deadline     time.Duration `mapstructure:"deadline"`      // of a request that brings none, and the longest
	Sweep        time.Duration `mapstructure:"sweep"`         // between looks at deadlines and leaders
	BackoffMax   time.Duration `mapstructure:"backoff_max"`   // between attempts of one group
	Grace        time.Duration `mapstructure:"grace"`         // a deposed leader's to answer what it holds
	BusyRetry    time.Duration `mapstructure:"busy_retry"`    // what busy tells the caller to wait
}

// DefaultConfig is right for a node with a few thousand clients.
func DefaultConfig() Config {
	return Config{
		ProposalsMax: 32 << 10,
		BytesMax:     64 << 20,
		ReadsMax:     1024,
		Deadline:     10 * time.Second,
		Sweep:        25 * time.Millisecond,
		BackoffMax:   20 * time.Millisecond,
		Grace:        25 * time.Millisecond,
		BusyRetry:    50 * time.Millisecond,
	}
}

// Validate reports every fault under its key.
func (c Config) Validate() error {
	var errs []error
	positive := func(key string, v int64) {
		if v < 1 {
			errs = append(errs, fmt.Errorf("%s: %d is below 1", key, v))
		}
	}
	positive("proposals_max", int64(c.ProposalsMax))
	positive("bytes_max", c.BytesMax)
	positive("reads_max", int64(c.ReadsMax))
	positive("deadline", int64(c.Deadline))
	positive("sweep", int64(c.Sweep))
	positive("backoff_max", int64(c.BackoffMax))
	positive("grace", int64(c.Grace))
	positive("busy_retry", int64(c.BusyRetry))
	return errors.Join(errs...)
}

// View is a consistent view of one group's rows.
type View interface {
	fsm.Reader
	Close() error
}

// Local is this node's host of Raft groups. [LocalOf] makes one of a host whose
// View method returns a type of its own.
type Local interface {
	// Propose queues cmd with the group's proposer, or refuses it at once. done
	// runs exactly once and must not be held up.
	Propose(g shard.GroupID, cmd []byte, done func(fsm.Result, error))
	// ReadIndex returns when a read of the local state is linearizable.
	ReadIndex(ctx context.Context, g shard.GroupID) error
	View(g shard.GroupID) (View, error)
	// Leader is who the local replica takes for the leader; ok is false when it
	// knows none, or there is no local replica.
	Leader(g shard.GroupID) (node shard.NodeID, ok bool)
	IsLeader(g shard.GroupID) bool
}

// Host is what [LocalOf] adapts.
type Host[V View] interface {
	Propose(g shard.GroupID, cmd []byte, done func(fsm.Result, error))
	ReadIndex(ctx context.Context, g shard.GroupID) error
	View(g shard.GroupID) (V, error)
	Leader(g shard.GroupID) (node shard.NodeID, ok bool)
	IsLeader(g shard.GroupID) bool
}

type local[V View] struct{ Host[V] }

func (l local[V]) View(g shard.GroupID) (View, error) { return l.Host.View(g) }

// LocalOf makes a [Local] of a host.
func LocalOf[V View](h Host[V]) Local { return local[V]{h} }

// Caller takes the answers of a remote proposal.
type Caller interface {
	// Answered is called exactly once for each token that Propose accepted.
	// Nothing of res may be kept by the one who calls.
	Answered(token uint64, res fsm.Result, err error)
}

// Remote is the connections to the other nodes.
type Remote interface {
	// Up reports whether node answers. It does not block.
	Up(node shard.NodeID) bool
	// Propose sends cmd to node. It does not block, keeps nothing of cmd when it
	// returns, and may call c before. With an error nothing was sent and c is
	// not called.
	Propose(node shard.NodeID, g shard.GroupID, cmd []byte, c Caller, token uint64) error
	// Read sends an encoded [Request] and waits for the encoded answer.
	Read(ctx context.Context, node shard.NodeID, g shard.GroupID, req []byte) ([]byte, error)
}

// Deps are what a router works with.
type Deps struct {
	Self    shard.NodeID
	Local   Local
	Remote  Remote
	Metrics Metrics
	Logger  *slog.Logger
}

// Metrics are called on the paths of requests and must be cheap. Each may be
// nil.
type Metrics struct {
	Retried   func()              // a proposal is sent again
	Moved     func()              // an attempt met a node that does not lead
	Forwarded func()              // a proposal goes to another node
	Busy      func()              // a request was refused for its number or bytes
	Expired   func()              // a proposal met its deadline
	Recovered func(time.Duration) // a group took proposals again after so long
}

func count(f func()) {
	if f != nil {
		f()
	}
}
