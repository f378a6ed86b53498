package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

// Config bounds the connections. Start from [DefaultConfig].
type Config struct {
	FramesMax     int           `mapstructure:"frames_max"`     // unacknowledged per stream and direction
	CallsMax      int           `mapstructure:"calls_max"`      // outstanding per stream
	BytesMax      int           `mapstructure:"bytes_max"`      // waiting to be sent, per stream
	FeedBytesMax  int           `mapstructure:"feed_bytes_max"` // waiting to be sent, per feed
	AttachMax     int           `mapstructure:"attach_max"`     // conversations per feed
	PingEvery     time.Duration `mapstructure:"ping_every"`     // while calls are outstanding; see idlePings
	SilentAfter   time.Duration `mapstructure:"silent_after"`   // without any frame after a ping: calls fail over
	BreakAfter    time.Duration `mapstructure:"break_after"`    // without any frame after a ping: the connection is opened anew
	ReconnectMax  time.Duration `mapstructure:"reconnect_max"`  // longest pause between attempts
	ControlsMax   int           `mapstructure:"controls_max"`   // unary calls at once
	ReadsMax      int           `mapstructure:"reads_max"`      // reads that run at once for one stream
	HandshakeTime time.Duration `mapstructure:"handshake_time"` // of TLS, or until the first byte
	HandshakesMax int           `mapstructure:"handshakes_max"` // at once
}

// DefaultConfig is right for clusters up to some dozens of nodes.
func DefaultConfig() Config {
	return Config{
		FramesMax:     16,
		CallsMax:      16 << 10,
		BytesMax:      32 << 20,
		FeedBytesMax:  8 << 20,
		AttachMax:     200_000,
		PingEvery:     250 * time.Millisecond,
		SilentAfter:   time.Second,
		BreakAfter:    3 * time.Second,
		ReconnectMax:  500 * time.Millisecond,
		ControlsMax:   64,
		ReadsMax:      256,
		HandshakeTime: 5 * time.Second,
		HandshakesMax: 128,
	}
}

// Validate reports every fault under its key.
func (c Config) Validate() error {
	var errs []error
	within := func(key string, v, least, most int64) {
		if v < least || v > most {
			errs = append(errs, fmt.Errorf("%s: %d is not within %d and %d", key, v, least, most))
		}
	}
	within("frames_max", int64(c.FramesMax), ackEarly, 64)
	within("calls_max", int64(c.CallsMax), 1, 1<<20)
	within("bytes_max", int64(c.BytesMax), 2*itemBytesMax, 1<<30)
	within("feed_bytes_max", int64(c.FeedBytesMax), 2*itemBytesMax, 1<<30)
	within("attach_max", int64(c.AttachMax), 1, 1<<24)
	within("controls_max", int64(c.ControlsMax), 1, 1<<16)
	within("reads_max", int64(c.ReadsMax), 1, 1<<16)
	within("handshakes_max", int64(c.HandshakesMax), 1, 1<<16)
	for key, d := range map[string]time.Duration{
		"ping_every": c.PingEvery, "silent_after": c.SilentAfter, "break_after": c.BreakAfter,
		"reconnect_max": c.ReconnectMax, "handshake_time": c.HandshakeTime,
	} {
		within(key, int64(d), int64(time.Millisecond), int64(time.Hour))
	}
	return errors.Join(errs...)
}

// Backend serves what other nodes forward; package router has it.
type Backend interface {
	// ServePropose checks and proposes cmd, which it may keep. done is called
	// exactly once.
	ServePropose(g shard.GroupID, cmd []byte, done func(fsm.Result, error))
	// ServeRead appends the answer of an encoded request to dst.
	ServeRead(ctx context.Context, g shard.GroupID, req, dst []byte) ([]byte, error)
	// Refused gives an error that says "not the leader" the leader's name.
	Refused(g shard.GroupID, err error) error
	// Led appends the groups that this node leads.
	Led(dst []shard.GroupID) []shard.GroupID
}

// Control serves the unary calls. Errors with a code reach the caller as such.
type Control interface {
	// Join adds a node to the cluster and answers with the map.
	Join(ctx context.Context, j Join) (*shard.Map, error)
	// Map is the newest map that this node knows.
	Map(ctx context.Context) (*shard.Map, error)
	// Status tells of this node and its replicas.
	Status(ctx context.Context) (shard.NodeStatus, error)
	// Change changes the membership or the leader of a group that this node
	// leads.
	Change(ctx context.Context, c shard.Change) error
}

// Join is what a node says to join.
type Join struct {
	Token string
	Node  shard.Node
}

// Identity is who this node is, as far as it knows yet.
type Identity struct {
	Self    shard.NodeID
	Cluster func() string // "" while this node has not joined
	Epoch   func() uint64 // of its map
}

// Dialer opens connections to peer ports; with TLS, speaking [ALPN]. nil dials
// plain TCP.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

// ALPN is the protocol that gRPC connections name on a TLS peer port; the Raft
// transport names [ALPNRaft].
const (
	ALPN     = "h2"
	ALPNRaft = "chatnode-raft/1"
)

func errDown(node shard.NodeID) error {
	return chat.E("forward", chat.NotLeader, "", fmt.Errorf("no connection to node %s", node))
}

var errBroken = errors.New("the stream to the other node ended")
