package clustertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/node"
	"github.com/chatnode/chatnode/shard"
)

// Secret signs the tokens of every test cluster; JoinToken lets nodes in.
const (
	Secret    = "0123456789abcdef0123456789abcdef"
	JoinToken = "join-token-of-the-test-clusters"
)

// KeepEnv names a directory; logs and data of failed clusters are moved there.
const KeepEnv = "CHATNODE_TEST_KEEP"

// Config says which cluster to start.
type Config struct {
	Nodes    int      // 0 means 1
	Groups   int      // 0 means the default
	Replicas int      // 0 means the default
	Args     []string // more flags for every node
	Env      []string // more environment for every node

	// Dir is where data goes; "" means a temporary directory of the test.
	Dir string
	// Listen gives the addresses of the i-th node; nil means loopback.
	Listen func(i int) (client, peer, debug string)
	// Wrap gives the words before the binary, such as those that enter a
	// network namespace; nil means none.
	Wrap func(n *Node) []string
}

// Cluster is a running cluster.
type Cluster struct {
	Nodes []*Node

	cfg    Config
	dir    string
	http   *http.Client
	scheme *auth.HS256
}

// Start bootstraps a node, joins the others, and waits until every group has
// all its replicas and a leader.
func Start(tb testing.TB, cfg Config) *Cluster {
	tb.Helper()
	c := New(tb, cfg)
	for i := range max(1, cfg.Nodes) {
		n := c.Add(tb)
		n.Launch(tb)
		if i == 0 {
			n.WaitReady(tb)
		}
	}
	for _, n := range c.Nodes {
		n.WaitReady(tb)
	}
	c.WaitHealthy(tb)
	return c
}

// New makes a cluster without nodes.
func New(tb testing.TB, cfg Config) *Cluster {
	tb.Helper()
	scheme, err := auth.NewHS256([]byte(Secret), "")
	if err != nil {
		tb.Fatal(err)
	}
	c := &Cluster{cfg: cfg, dir: cfg.Dir, scheme: scheme, http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	if c.dir == "" {
		c.dir = tb.TempDir()
	}
	writeFile(tb, c.SecretFile(), Secret)
	writeFile(tb, c.TokenFile(), JoinToken)
	tb.Cleanup(func() { c.end(tb) })
	return c
}

// SecretFile holds the secret of the tokens, TokenFile the join token.
func (c *Cluster) SecretFile() string { return filepath.Join(c.dir, "secret") }

// TokenFile holds the join token.
func (c *Cluster) TokenFile() string { return filepath.Join(c.dir, "join-token") }

// Add makes one more node, which is not started yet: the first one will
// bootstrap, the others will join it.
func (c *Cluster) Add(tb testing.TB) *Node {
	tb.Helper()
	i := len(c.Nodes)
	n := &Node{ID: label(i), cluster: c}
	n.Dir = filepath.Join(c.dir, n.ID)
	n.log = filepath.Join(c.dir, n.ID+".log")
	if c.cfg.Listen != nil {
		n.Client, n.Peer, n.Debug = c.cfg.Listen(i)
	} else {
		n.Client, n.Peer, n.Debug = Addr(tb), Addr(tb), Addr(tb)
	}
	n.args = []string{"start", "--bootstrap"}
	if i > 0 {
		n.args = []string{"join", "--peer", c.Nodes[0].Peer}
		if i > 1 { // either may be down when this one joins
			n.args = append(n.args, "--peer", c.Nodes[1].Peer)
		}
	}
	n.args = append(n.args, "--node-id", n.ID, "--data-dir", n.Dir, "--listen-client", n.Client, "--listen-peer", n.Peer,
		"--listen-debug", n.Debug, "--auth-secret-file", c.SecretFile(), "--join-token-file", c.TokenFile(),
		"--storage-reserve-bytes", strconv.Itoa(64<<20))
	if c.cfg.Groups > 0 {
		n.args = append(n.args, "--groups", strconv.Itoa(c.cfg.Groups))
	}
	if c.cfg.Replicas > 0 {
		n.args = append(n.args, "--replicas", strconv.Itoa(c.cfg.Replicas))
	}
	n.args = append(n.args, c.cfg.Args...)
	c.Nodes = append(c.Nodes, n)
	return n
}

// AddWith makes a node that is started by a command of its own, with addresses
// and a directory and without the cluster's secret.
func (c *Cluster) AddWith(tb testing.TB, command ...string) *Node {
	tb.Helper()
	n := c.Add(tb)
	n.args = append(command, "--data-dir", n.Dir, "--listen-client", n.Client, "--listen-peer", n.Peer)
	return n
}

// Token makes a token for a user.
func (c *Cluster) Token(tb testing.TB, user string) string {
	tb.Helper()
	return c.mint(tb, auth.Principal{User: chat.UserID(user)})
}

// AdminToken makes a token for the control routes.
func (c *Cluster) AdminToken(tb testing.TB) string {
	tb.Helper()
	return c.mint(tb, auth.Principal{User: "operator", Admin: true})
}

func (c *Cluster) mint(tb testing.TB, p auth.Principal) string {
	tb.Helper()
	token, err := c.scheme.Mint(p, time.Now(), time.Hour)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// Addrs gives the base URLs of all nodes.
func (c *Cluster) Addrs() []string {
	all := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		all[i] = n.URL()
	}
	return all
}

// Report asks a node how the cluster is.
func (c *Cluster) Report(tb testing.TB, from *Node) (node.ClusterReport, error) {
	tb.Helper()
	var r node.ClusterReport
	b, err := c.Get(from.URL()+"/v1/admin/status", c.AdminToken(tb))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

// Get fetches a URL with a token and gives the body of a 2xx answer.
func (c *Cluster) Get(url, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s answered %d: %.300s", url, resp.StatusCode, b)
	}
	return b, nil
}

func (c *Cluster) probe(url string) error {
	_, err := c.Get(url, "")
	return err
}

// WaitHealthy waits until every running node says that the whole cluster is
// healthy and has as many nodes as run.
func (c *Cluster) WaitHealthy(tb testing.TB) {
	tb.Helper()
	for _, n := range c.Nodes {
		if n.PID() == 0 {
			continue
		}
		Until(tb, "cluster healthy, asked "+n.ID, func() error {
			r, err := c.Report(tb, n)
			if err != nil {
				return err
			}
			if r.Health != node.Healthy || len(r.Nodes) != len(c.Nodes) {
				return fmt.Errorf("%s with %d of %d nodes: %v", r.Health, len(r.Nodes), len(c.Nodes), r.Reasons)
			}
			return nil
		})
	}
}

// Leader gives the running node that leads a group.
func (c *Cluster) Leader(tb testing.TB, group shard.GroupID) *Node {
	tb.Helper()
	var leader *Node
	Until(tb, fmt.Sprintf("leader of group %d", group), func() error {
		for _, from := range c.Nodes {
			if from.PID() == 0 {
				continue
			}
			r, err := c.Report(tb, from)
			if err != nil || int(group) >= len(r.Groups) {
				continue
			}
			if leader = c.byID(string(r.Groups[group].Leader)); leader != nil && leader.PID() != 0 {
				return nil
			}
		}
		return fmt.Errorf("nobody leads")
	})
	return leader
}

func (c *Cluster) byID(id string) *Node {
	for _, n := range c.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// end reaps all processes and shows or keeps what a failed test needs.
func (c *Cluster) end(tb testing.TB) {
	tb.Helper()
	for _, n := range c.Nodes {
		n.reap()
	}
	if !tb.Failed() {
		return
	}
	for _, n := range c.Nodes {
		tb.Logf("last lines of %s:\n%s", n.ID, n.Tail(30))
	}
	if keep := os.Getenv(KeepEnv); keep != "" {
		to := filepath.Join(keep, filepath.Base(tb.Name())+time.Now().Format("-150405"))
		if err := os.CopyFS(to, os.DirFS(c.dir)); err != nil {
			tb.Logf("keep: %v", err)
			return
		}
		tb.Logf("kept in %s", to)
	}
}
