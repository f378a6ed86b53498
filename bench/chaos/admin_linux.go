package chaos

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// tokenLife outlasts a run and the clock faults of a run.
const tokenLife = 72 * time.Hour

// token mints what the nodes accept: an HS256 JWT under the run's secret.
func (c *cluster) token(user string, admin bool) string {
	enc := base64.RawURLEncoding.EncodeToString
	claims := map[string]any{"sub": user, "exp": time.Now().Add(tokenLife).Unix()}
	if admin {
		claims["scope"] = "admin"
	}
	body, _ := json.Marshal(claims) // a map of strings and integers
	text := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc(body)
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte(text))
	return text + "." + enc(mac.Sum(nil))
}

// adminBytesMax bounds an answer of the control API.
const adminBytesMax = 16 << 20

// admin calls the control API of one node.
func (c *cluster) admin(ctx context.Context, n *node, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.client+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token("operator", true))
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	tr := &http.Transport{DialContext: c.dial, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, adminBytesMax))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(b))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// status is what the harness reads of a status report.
type status struct {
	Health  string   `json:"health"`
	Reasons []string `json:"reasons"`
	Nodes   []struct {
		Node      string `json:"node"`
		Reachable bool   `json:"reachable"`
		Replicas  int    `json:"replicas"`
	} `json:"nodes"`
	Groups []struct {
		Group    int    `json:"group"`
		Leader   string `json:"leader"`
		Term     uint64 `json:"term"`
		Applied  uint64 `json:"applied"`
		Replicas []struct {
			Node    string `json:"node"`
			Role    string `json:"role"`
			Voter   bool   `json:"voter"`
			Applied uint64 `json:"applied"`
			First   uint64 `json:"first"`
			Last    uint64 `json:"last"`
		} `json:"replicas"`
	} `json:"groups"`
}

// status asks the nodes in turn until one answers.
func (c *cluster) status(ctx context.Context) (status, error) {
	var errs []error
	for _, n := range c.nodes {
		if n.process() == nil {
			continue
		}
		var s status
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := c.admin(one, n, http.MethodGet, "/v1/admin/status", nil, &s)
		cancel()
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	return status{}, errors.Join(append(errs, errors.New("no node answers"))...)
}

// awaitReplicas waits until every group has a leader and so many voters.
func (c *cluster) awaitReplicas(ctx context.Context, voters int) error {
	return poll(ctx, fmt.Sprintf("every group with %d voters and a leader", voters), func() (bool, string) {
		s, err := c.status(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, g := range s.Groups {
			n := 0
			for _, r := range g.Replicas {
				if r.Voter && r.Role != "unreachable" {
					n++
				}
			}
			if g.Leader == "" || n < voters {
				return false, fmt.Sprintf("group %d has leader %q and %d voters", g.Group, g.Leader, n)
			}
		}
		return len(s.Groups) > 0, "no groups"
	})
}

// leader gives the node that leads the group numbered pick (taken modulo their
// number), or nil when nobody knows.
func (c *cluster) leader(ctx context.Context, pick int) *node {
	s, err := c.status(ctx)
	if err != nil || len(s.Groups) == 0 {
		return nil
	}
	return c.byID(s.Groups[pick%len(s.Groups)].Leader)
}

func (c *cluster) byID(id string) *node {
	for _, n := range c.nodes {
		if n.ID() == id {
			return n
		}
	}
	return nil
}

// transfer asks for another leader of a group.
func (c *cluster) transfer(ctx context.Context, group int, to *node) error {
	in := map[string]any{"group": group, "to": to.ID()}
	var errs []error
	for _, n := range c.nodes {
		if n.process() == nil {
			continue
		}
		err := c.admin(ctx, n, http.MethodPost, "/v1/admin/transfer", in, nil)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// remove takes the node id out of the cluster and waits until it is gone from the
// map. It is asked again until then, since the moment may have no leader; an
// answer that does not know the node is one that came too late.
func (c *cluster) remove(ctx context.Context, id string) error {
	asked := false
	return poll(ctx, "remove "+id, func() (bool, string) {
		s, err := c.status(ctx)
		if err != nil {
			return false, err.Error()
		}
		gone := true
		for _, n := range s.Nodes {
			gone = gone && n.Node != id
		}
		if gone || asked {
			return gone, "it is still in the map"
		}
		for _, n := range c.nodes {
			if n.process() == nil || n.ID() == id {
				continue
			}
			one, cancel := context.WithTimeout(ctx, 10*time.Second)
			err = c.admin(one, n, http.MethodPost, "/v1/admin/remove", map[string]any{"node": id}, nil)
			cancel()
			if err == nil {
				asked = true
				break
			}
		}
		return false, fmt.Sprintf("asked: %v", err)
	})
}
