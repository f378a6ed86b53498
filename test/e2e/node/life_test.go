package nodetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/node"
	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

// TestGrowth takes a cluster from one node to three and to four while messages
// come in, and reads all of them from every node.
func TestGrowth(t *testing.T) {
	c := clustertest.New(t, clustertest.Config{})
	first := c.Add(t)
	first.Start(t)
	r := newRoom(t, c)
	r.create("growing", "ann")
	var want []string
	say := func(n int) {
		for range n {
			text := fmt.Sprintf("message %d", len(want)+1)
			r.send(r.running, "growing", "ann", text)
			want = append(want, text)
		}
	}
	say(5)
	for _, nodes := range []int{2, 3, 4} {
		c.Add(t).Launch(t)
		say(20)
		c.Nodes[nodes-1].WaitReady(t)
		c.WaitHealthy(t)
		say(5)
	}
	for _, n := range c.Nodes {
		if diff := cmp.Diff(want, r.texts(n, "growing", "ann")); diff != "" {
			t.Errorf("%s has other messages (-sent +read):\n%s", n.ID, diff)
		}
	}
	report, err := c.Report(t, c.Nodes[3])
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range report.Groups {
		if g.Group != 0 && len(g.Replicas) < 3 {
			t.Errorf("group %d has %d replicas, want 3", g.Group, len(g.Replicas))
		}
	}
}

// TestStopCrashAndReturn stops, kills and brings back nodes under a stream of
// messages. Nothing acknowledged is lost, and replicas end with the same
// content.
func TestStopCrashAndReturn(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Nodes: 3})
	r := newRoom(t, c)
	r.create("steady", "ann")
	var want []string
	say := func(n int) (longest time.Duration) {
		for range n {
			text := fmt.Sprintf("message %d", len(want)+1)
			begin := time.Now()
			r.send(r.running, "steady", "ann", text)
			longest = max(longest, time.Since(begin))
			want = append(want, text)
		}
		return longest
	}
	say(20)

	for _, n := range c.Nodes {
		n.Signal(t, terminate)
		pause := say(30)
		if code := n.Wait(t); code != 0 {
			t.Errorf("%s stopped with code %d:\n%s", n.ID, code, n.Tail(20))
		}
		t.Logf("graceful stop of %s: longest append %v", n.ID, pause)
		n.Start(t)
		c.WaitHealthy(t)
	}
	for _, n := range c.Nodes {
		n.Kill(t)
		t.Logf("kill of %s: longest append %v", n.ID, say(20))
		n.Start(t)
		c.WaitHealthy(t)
	}
	for _, n := range c.Nodes {
		n.Kill(t)
	}
	for _, n := range c.Nodes {
		n.Launch(t)
	}
	for _, n := range c.Nodes {
		n.WaitReady(t)
	}
	c.WaitHealthy(t)
	for _, n := range c.Nodes {
		if diff := cmp.Diff(want, r.texts(n, "steady", "ann")); diff != "" {
			t.Errorf("%s has other messages (-sent +read):\n%s", n.ID, diff)
		}
	}
	waitEven(t, c)
	for _, n := range c.Nodes {
		n.Stop(t)
	}
	sameContent(t, c)
}

// waitEven waits until every replica has applied the same.
func waitEven(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	clustertest.Until(t, "replicas are even", func() error {
		report, err := c.Report(t, c.Nodes[0])
		if err != nil {
			return err
		}
		for _, g := range report.Groups {
			for _, p := range g.Replicas {
				if p.Applied != g.Replicas[0].Applied {
					return fmt.Errorf("group %d: %+v", g.Group, g.Replicas)
				}
			}
		}
		return nil
	})
}

// sameContent checks the directories of the stopped nodes and compares what
// replicas hold at the same index.
func sameContent(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	type place struct {
		group   uint32
		applied uint64
	}
	hashes := make(map[place]string)
	compared := 0
	for _, n := range c.Nodes {
		out, errs, code := clustertest.Run(t, "check", n.Dir, "--json")
		if code != 0 {
			t.Errorf("check of %s: code %d: %s%s", n.ID, code, out, errs)
			continue
		}
		var report node.CheckReport
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatal(err)
		}
		for _, g := range report.Groups {
			at := place{uint32(g.Group), g.Applied}
			if was, ok := hashes[at]; ok {
				compared++
				if was != g.Hash {
					t.Errorf("group %d at index %d: %s has another content", g.Group, g.Applied, n.ID)
				}
			}
			hashes[at] = g.Hash
		}
	}
	if compared == 0 {
		t.Error("no two replicas were at the same index")
	}
}

// TestRemoveAndReplace takes a dead node out of the cluster and a new one in.
func TestRemoveAndReplace(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Nodes: 3, Groups: 2})
	r := newRoom(t, c)
	r.create("kept", "ann")
	r.send(r.running, "kept", "ann", "before")
	c.Nodes[2].Kill(t)
	_, errs, code := clustertest.Run(t, "remove", "n3", "--addr", c.Nodes[0].URL(), "--auth-secret-file", c.SecretFile())
	if code != 0 {
		t.Fatalf("remove: code %d: %s", code, errs)
	}
	clustertest.Until(t, "n3 is gone", func() error {
		report, err := c.Report(t, c.Nodes[0])
		if err != nil {
			return err
		}
		if len(report.Nodes) != 2 {
			return fmt.Errorf("%d nodes", len(report.Nodes))
		}
		return nil
	})
	dead := c.Nodes[2]
	fourth := c.Add(t)
	fourth.Start(t)
	clustertest.Until(t, "healthy with the new node", func() error {
		report, err := c.Report(t, fourth)
		if err != nil {
			return err
		}
		if report.Health != node.Healthy || len(report.Nodes) != 3 {
			return fmt.Errorf("%s: %v", report.Health, report.Reasons)
		}
		return nil
	})
	if got := r.texts(fourth, "kept", "ann"); !slices.Equal(got, []string{"before"}) {
		t.Errorf("the new node reads %q", got)
	}
	// The removed node learns that it was, and says so.
	dead.Launch(t)
	if code := dead.Wait(t); code != 1 || !strings.Contains(dead.Log(), "removed from the cluster") {
		t.Errorf("the removed node ended with %d:\n%s", code, dead.Tail(10))
	}
}

// TestStatusSaysHowItIs asks for the exit codes and tables of the operator's
// commands.
func TestStatusSaysHowItIs(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Nodes: 3, Groups: 2})
	ask := func(n *clustertest.Node, args ...string) (string, int) {
		out, errs, code := clustertest.Run(t, append(args, "--addr", n.URL(), "--auth-secret-file", c.SecretFile())...)
		return out + errs, code
	}
	if out, code := ask(c.Nodes[1], "status"); code != 0 || !strings.Contains(out, "is healthy: 3 of 3 nodes answer, 3 of 3 groups have a leader") {
		t.Errorf("status of a healthy cluster: %d\n%s", code, out)
	}
	out, code := ask(c.Nodes[2], "groups", "--json")
	var groups []node.GroupReport
	if err := json.Unmarshal([]byte(out), &groups); err != nil || code != 0 || len(groups) != 3 || len(groups[1].Replicas) != 3 {
		t.Errorf("groups --json: %d, %v\n%s", code, err, out)
	}
	out, code = ask(c.Nodes[0], "members")
	if code != 0 || strings.Count(out, "active") != 3 {
		t.Errorf("members: %d\n%s", code, out)
	}
	leader := c.Leader(t, 1)
	to := c.Nodes[0]
	if to == leader {
		to = c.Nodes[1]
	}
	if out, code := ask(c.Nodes[2], "transfer", "1", to.ID); code != 0 {
		t.Errorf("transfer: %d\n%s", code, out)
	}
	if out, code := ask(c.Nodes[0], "transfer", "1", "n9"); code != 1 || !strings.Contains(out, "no replica") {
		t.Errorf("transfer to a stranger: %d\n%s", code, out)
	}
	c.Nodes[2].Kill(t)
	if out, code := ask(c.Nodes[0], "status"); code != 1 || !strings.Contains(out, "node n3 does not answer") {
		t.Errorf("status with a node down: %d\n%s", code, out)
	}
	r := newRoom(t, c)
	create := func(id int) (int, []byte, error) {
		return r.try(http.MethodPost, c.Nodes[0], "/v1/conversations", "ann", fmt.Sprintf("018f3c5e-7b1a-4000-8000-%012d", id),
			map[string]any{"conv": fmt.Sprint("lonely-", id), "kind": "group"})
	}
	for range 2 { // to a dead node, which stops nothing
		for _, g := range []string{"1", "2"} {
			if out, code := ask(c.Nodes[0], "transfer", g, "n3"); code != 1 {
				t.Errorf("transfer to a dead node: %d\n%s", code, out)
			}
		}
	}
	for id := range 8 {
		if status, body, err := create(id); err != nil || status != http.StatusCreated {
			t.Errorf("write after transfers to a dead node: %d %s %v, want 201", status, body, err)
		}
	}
	c.Nodes[1].Kill(t)
	clustertest.Until(t, "status says down", func() error {
		if out, code := ask(c.Nodes[0], "status"); code != 2 {
			return fmt.Errorf("code %d: %s", code, out)
		}
		return nil
	})
	if _, code := ask(c.Nodes[1], "status"); code != 2 {
		t.Errorf("status of a dead node: code %d, want 2", code)
	}
	// A minority refuses writes, says that it may be tried again, and is not ready.
	if status, body, err := create(9); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("write to a minority: %d %s %v, want 503", status, body, err)
	}
	clustertest.Until(t, "it is not ready", func() error {
		if resp, err := c.Get(c.Nodes[0].URL()+"/readyz", ""); err == nil {
			return fmt.Errorf("ready: %s", resp)
		}
		return nil
	})
}
