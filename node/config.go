package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chatnode/chatnode/internal/obs"
	"github.com/chatnode/chatnode/shard"
)

// Config is all that an operator can set. Start from [Default].
type Config struct {
	NodeID    string        `mapstructure:"node_id"`  // for ever; never given again to an empty directory
	DataDir   string        `mapstructure:"data_dir"` // everything this node keeps
	Zone      string        `mapstructure:"zone"`     // replicas of a group are spread over zones
	Listen    Listen        `mapstructure:"listen"`
	Advertise Advertise     `mapstructure:"advertise"`
	Origins   []string      `mapstructure:"origins"` // web pages that may connect besides the host itself, as https://example.org; "*" for all
	Auth      Auth          `mapstructure:"auth"`
	TLS       TLS           `mapstructure:"tls"`
	Insecure  bool          `mapstructure:"insecure"` // ports beyond loopback without TLS
	Storage   Storage       `mapstructure:"storage"`
	Raft      Raft          `mapstructure:"raft"`
	Cluster   Cluster       `mapstructure:"cluster"`
	Log       obs.LogConfig `mapstructure:"log"`
	Memory    Memory        `mapstructure:"memory"`
	StopAfter time.Duration `mapstructure:"stop_after"` // a graceful stop that takes longer is cut short
}

// Listen holds the addresses that the node binds. Port 0 takes a free one.
type Listen struct {
	Client string `mapstructure:"client"` // HTTP and WebSocket
	Peer   string `mapstructure:"peer"`   // Raft and node-to-node calls
	Debug  string `mapstructure:"debug"`  // profiles; "" for none
}

// Advertise holds the addresses that others reach the node by, when these are
// not the bound ones.
type Advertise struct {
	Client string `mapstructure:"client"`
	Peer   string `mapstructure:"peer"`
}

// Auth says how callers prove who they are.
type Auth struct {
	Secret     string `mapstructure:"secret"`      // of the tokens; no flag, since flags are public
	SecretFile string `mapstructure:"secret_file"` // read instead of Secret
	Audience   string `mapstructure:"audience"`    // tokens must name it, when it is given
}

// TLS names certificate files. The peer port uses mutual TLS: every node
// shows a certificate that PeerCA signed.
type TLS struct {
	ClientCert string `mapstructure:"client_cert"`
	ClientKey  string `mapstructure:"client_key"`
	PeerCert   string `mapstructure:"peer_cert"`
	PeerKey    string `mapstructure:"peer_key"`
	PeerCA     string `mapstructure:"peer_ca"`
}

// Storage says how data is kept.
type Storage struct {
	Log          string `mapstructure:"log"`           // segment, pebble or bolt
	ReserveBytes int64  `mapstructure:"reserve_bytes"` // below so much free space proposals are refused
	CacheBytes   int64  `mapstructure:"cache_bytes"`   // block cache of the history
}

// Raft holds the timeouts of consensus.
type Raft struct {
	ElectionTimeout time.Duration `mapstructure:"election_timeout"`
}

// Cluster says how this node becomes part of one. All but Replicas count once,
// when the directory is empty.
type Cluster struct {
	Groups        int           `mapstructure:"groups"`          // conversation groups, fixed at bootstrap
	Replicas      int           `mapstructure:"replicas"`        // of each group, as soon as there are nodes enough; the same on all nodes
	JoinToken     string        `mapstructure:"join_token"`      // no flag
	JoinTokenFile string        `mapstructure:"join_token_file"` // read instead of JoinToken
	JoinTimeout   time.Duration `mapstructure:"join_timeout"`
}

// Memory bounds what the Go runtime takes.
type Memory struct {
	LimitBytes int64 `mapstructure:"limit_bytes"` // soft; 0 for none
	GCPercent  int   `mapstructure:"gc_percent"`
}

// Bounds of the configuration.
const (
	GroupsMax   = 256
	ReplicasMax = 7
)

// Default is a configuration that starts on loopback once it has a data
// directory and a secret.
func Default() Config {
	host, err := os.Hostname()
	if err != nil || !shard.ValidNodeID(shard.NodeID(host)) {
		host = "node1"
	}
	return Config{
		NodeID:    host,
		Listen:    Listen{Client: "127.0.0.1:7400", Peer: "127.0.0.1:7401"},
		Storage:   Storage{Log: "segment", ReserveBytes: 512 << 20, CacheBytes: 64 << 20},
		Raft:      Raft{ElectionTimeout: time.Second},
		Cluster:   Cluster{Groups: 8, Replicas: 3, JoinTimeout: time.Minute},
		Log:       obs.LogConfig{Level: "info", Format: "text"},
		Memory:    Memory{GCPercent: 100},
		StopAfter: 15 * time.Second,
	}
}

// Validate reports every fault at once, each under its key.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	// The map refuses what is malformed, but only when the directory is in use.
	if !shard.ValidNodeID(shard.NodeID(c.NodeID)) {
		fault("node_id: %q is not 1 to %d letters, digits or -_.", c.NodeID, shard.NodeIDBytesMax)
	}
	if !shard.Printable(c.Zone, shard.ZoneBytesMax) {
		fault("zone: %q is not at most %d visible ASCII characters without spaces", c.Zone, shard.ZoneBytesMax)
	}
	if c.DataDir == "" {
		fault("data_dir: say where the data shall be (--data-dir)")
	}
	errs = append(errs, c.Listen.validate(), c.TLS.validate(), c.exposed(), c.reachable(), c.Log.Validate())
	for key, addr := range map[string]string{"advertise.client": c.Advertise.Client, "advertise.peer": c.Advertise.Peer} {
		if addr != "" {
			errs = append(errs, validAddress(key, addr, false))
		}
	}
	if !slices.Contains(logKinds(), c.Storage.Log) {
		fault("storage.log: %q is none of segment, pebble and bolt", c.Storage.Log)
	}
	if c.Storage.ReserveBytes < 0 {
		fault("storage.reserve_bytes: %d is below 0", c.Storage.ReserveBytes)
	}
	if c.Storage.CacheBytes < 1<<20 {
		fault("storage.cache_bytes: %d is below 1 MiB", c.Storage.CacheBytes)
	}
	if e := c.Raft.ElectionTimeout; e < 50*time.Millisecond || e > time.Minute {
		fault("raft.election_timeout: %v is not within 50ms and 1m", e)
	}
	if n := c.Cluster.Groups; n < 1 || n > GroupsMax {
		fault("cluster.groups: %d is not within 1 and %d", n, GroupsMax)
	}
	if n := c.Cluster.Replicas; n < 1 || n > ReplicasMax || n%2 == 0 {
		fault("cluster.replicas: %d is not an odd number within 1 and %d", n, ReplicasMax)
	}
	if c.Cluster.JoinTimeout <= 0 {
		fault("cluster.join_timeout: %v is not above 0", c.Cluster.JoinTimeout)
	}
	if c.Memory.LimitBytes < 0 {
		fault("memory.limit_bytes: %d is below 0", c.Memory.LimitBytes)
	}
	if c.Memory.GCPercent < 10 {
		fault("memory.gc_percent: %d is below 10", c.Memory.GCPercent)
	}
	if c.StopAfter <= 0 {
		fault("stop_after: %v is not above 0", c.StopAfter)
	}
	return errors.Join(errs...)
}

func (l Listen) validate() error {
	errs := []error{validAddress("listen.client", l.Client, true), validAddress("listen.peer", l.Peer, true)}
	if l.Debug != "" {
		errs = append(errs, validAddress("listen.debug", l.Debug, true))
		if !loopback(l.Debug) {
			errs = append(errs, fmt.Errorf("listen.debug: %s is reachable from outside; profiles hold what is in memory, so only loopback will do", l.Debug))
		}
	}
	return errors.Join(errs...)
}

func (t TLS) validate() error {
	var errs []error
	if (t.ClientCert == "") != (t.ClientKey == "") {
		errs = append(errs, errors.New("tls.client_cert and tls.client_key: give both or none"))
	}
	if n := count(t.PeerCert, t.PeerKey, t.PeerCA); n != 0 && n != 3 {
		errs = append(errs, errors.New("tls.peer_cert, tls.peer_key and tls.peer_ca: give all three or none"))
	}
	return errors.Join(errs...)
}

// exposed refuses ports beyond loopback that anybody could speak to.
func (c Config) exposed() error {
	if c.Insecure {
		return nil
	}
	var errs []error
	if !loopback(c.Listen.Client) && c.TLS.ClientCert == "" {
		errs = append(errs, fmt.Errorf("listen.client: %s is reachable from outside: give tls.client_cert and tls.client_key, or say --insecure when the network is closed", c.Listen.Client))
	}
	if !loopback(c.Listen.Peer) && c.TLS.PeerCert == "" {
		errs = append(errs, fmt.Errorf("listen.peer: %s is reachable from outside: give tls.peer_cert, tls.peer_key and tls.peer_ca, or say --insecure when the network is closed", c.Listen.Peer))
	}
	return errors.Join(errs...)
}

// reachable refuses to tell others an address that stands for all of a machine's:
// they would dial themselves.
func (c Config) reachable() error {
	var errs []error
	for _, p := range []struct{ name, bound, told string }{
		{"client", c.Listen.Client, c.Advertise.Client}, {"peer", c.Listen.Peer, c.Advertise.Peer},
	} {
		switch {
		case p.told == "" && everyAddress(p.bound):
			errs = append(errs, fmt.Errorf("listen.%s: %s is every address of this machine, and nobody can dial that: give the one that others shall use, --advertise-%s HOST:PORT", p.name, p.bound, p.name))
		case everyAddress(p.told):
			errs = append(errs, fmt.Errorf("advertise.%s: %s is every address of a machine, and nobody can dial that", p.name, p.told))
		}
	}
	return errors.Join(errs...)
}

// everyAddress reports whether the host is 0.0.0.0, [::] or left out.
func everyAddress(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false // another check names it, if there is one
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.WithZone("").Unmap().IsUnspecified()
}

func validAddress(key, addr string, portZero bool) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s: %q is not HOST:PORT", key, addr)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 || n == 0 && !portZero {
		return fmt.Errorf("%s: %q is not a port", key, port)
	}
	if !shard.Printable(addr, shard.AddrBytesMax) {
		return fmt.Errorf("%s: %q is not at most %d visible ASCII characters", key, addr, shard.AddrBytesMax)
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // another check names it
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func count(values ...string) int {
	n := 0
	for _, v := range values {
		if v != "" {
			n++
		}
	}
	return n
}

// secret gives the token secret of the configuration, "" when there is none.
func (a Auth) secret() (string, error) {
	return fromFile("auth.secret", a.Secret, a.SecretFile)
}

func (c Cluster) joinToken() (string, error) {
	return fromFile("cluster.join_token", c.JoinToken, c.JoinTokenFile)
}

func fromFile(key, value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", fmt.Errorf("%s and %s_file: give one of them", key, key)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_file: %w", key, err)
	}
	value = strings.TrimSpace(string(text))
	if value == "" { // as if it had not been given, another would be made
		return "", fmt.Errorf("%s_file: %s is empty", key, file)
	}
	return value, nil
}
