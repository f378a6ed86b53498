package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Target is a cluster to be measured.
type Target struct {
	Nodes  []*Node
	Dir    string // of a spawned cluster
	secret []byte
	token  string // instead of the secret: one user for everything
	http   *http.Client

	// Of a spawned cluster.
	spawned               Config
	binary                string
	secretFile, tokenFile string
	keep                  bool
	network               *network // nil on loopback
	named                 int      // nodes that were given an id
	leaving               *Node    // not among Nodes any more, and still running
}

// Attach is a cluster that runs already. Give the secret that signs its
// tokens, or one token; pids are those of all nodes, or none.
func Attach(addresses []string, secret []byte, token string, pids []int) (*Target, error) {
	if len(addresses) == 0 {
		return nil, errors.New("target: no address")
	}
	if len(secret) == 0 && token == "" {
		return nil, errors.New("target: give the secret of the tokens, or a token")
	}
	if len(pids) != 0 && len(pids) != len(addresses) {
		return nil, fmt.Errorf("target: %d processes for %d addresses; the processor time of the nodes needs all, in the same order", len(pids), len(addresses))
	}
	t := &Target{secret: bytes.TrimSpace(secret), token: token, http: newHTTP(nil)}
	for i, a := range addresses {
		n := &Node{ID: fmt.Sprintf("node%d", i+1), URL: baseURL(a)}
		if len(pids) > 0 {
			n.pid = pids[i]
		}
		t.Nodes = append(t.Nodes, n)
	}
	return t, nil
}

// Dialer opens connections to nodes.
type Dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// NetDial is how clients have to dial the nodes; nil for plainly.
func (t *Target) NetDial() Dialer {
	if t.network == nil {
		return nil
	}
	return t.network.dial
}

func newHTTP(dial Dialer) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
}

func baseURL(address string) string {
	if strings.Contains(address, "://") {
		return strings.TrimSuffix(address, "/")
	}
	return "http://" + address
}

// URLs gives the address of every node.
func (t *Target) URLs() []string {
	urls := make([]string, len(t.Nodes))
	for i, n := range t.Nodes {
		urls[i] = n.URL
	}
	return urls
}

// PIDs gives the processes that run and are known.
func (t *Target) PIDs() []int {
	var pids []int
	for _, n := range t.Nodes {
		if pid := n.PID(); pid != 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Spawned reports whether the nodes may be killed and started.
func (t *Target) Spawned() bool { return t.Dir != "" }

// Close ends spawned processes and removes their directory.
func (t *Target) Close() error {
	var errs []error
	for _, n := range t.Nodes {
		if n.args != nil {
			errs = append(errs, n.Kill())
		}
	}
	if t.leaving != nil {
		errs = append(errs, t.leaving.Kill())
	}
	if t.network != nil {
		errs = append(errs, t.network.close())
	}
	if t.Dir != "" && !t.keep {
		errs = append(errs, os.RemoveAll(t.Dir))
	}
	return errors.Join(errs...)
}

// Status is what a node says of the cluster, as far as workloads need it.
type Status struct {
	Health  string
	Reasons []string
	Nodes   []struct {
		Node      string
		Client    string
		Reachable bool
		Version   string
	}
	Groups []GroupStatus
}

// GroupStatus is one Raft group. Group 0 is the meta group.
type GroupStatus struct {
	Group  int
	Leader string
	Term   uint64
}

// answerBytesMax bounds what is read of an answer.
const answerBytesMax = 16 << 20

// admin calls a control route of a node.
func (t *Target) admin(ctx context.Context, method, url string, body, into any) error {
	token := t.token
	if token == "" {
		var err error
		if token, err = mint(t.secret, "operator", "admin", time.Now()); err != nil {
			return err
		}
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s: %w", url, err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, in)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %d: %.300s", url, resp.StatusCode, b)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// Status asks a node how the cluster is.
func (t *Target) Status(ctx context.Context, n *Node) (Status, error) {
	var s Status
	err := t.admin(ctx, http.MethodGet, n.URL+"/v1/admin/status", nil, &s)
	return s, err
}

// Terms is the sum of the groups' terms as the first node that answers knows them:
// it grows by one with each election.
func (t *Target) Terms(ctx context.Context) (uint64, error) {
	var errs []error
	for _, n := range t.Nodes {
		s, err := t.Status(ctx, n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sum := uint64(0)
		for _, g := range s.Groups {
			sum += g.Term
		}
		return sum, nil
	}
	return 0, errors.Join(errs...)
}

// Transfer asks a node to move the leadership of a group to another.
func (t *Target) Transfer(ctx context.Context, via *Node, group int, to string) error {
	return t.admin(ctx, http.MethodPost, via.URL+"/v1/admin/transfer", map[string]any{"group": group, "to": to}, nil)
}

// WaitHealthy waits until the cluster calls itself healthy with all its nodes.
func (t *Target) WaitHealthy(ctx context.Context) error {
	var last error
	for {
		last = t.healthy(ctx)
		if last == nil {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return errors.Join(err, last)
		}
	}
}

func (t *Target) healthy(ctx context.Context) error {
	for _, n := range t.Nodes {
		if err := n.alive(); err != nil {
			return err
		}
		s, err := t.Status(ctx, n)
		if err != nil {
			return err
		}
		if s.Health != "healthy" || len(s.Nodes) < len(t.Nodes) {
			return fmt.Errorf("%s says %s with %d nodes: %s", n.ID, s.Health, len(s.Nodes), strings.Join(s.Reasons, "; "))
		}
	}
	return nil
}

// ByID finds a node.
func (t *Target) ByID(id string) *Node {
	for _, n := range t.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
