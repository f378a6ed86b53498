package nodetest

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

// TestRefusals starts nodes wrongly. Each gets an error that says what to do
// and an exit code, quickly, and changes nothing for the node that runs.
func TestRefusals(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Groups: 2})
	other := clustertest.Start(t, clustertest.Config{Groups: 2})
	n := c.Nodes[0]
	r := newRoom(t, c)
	r.create("untouched", "ann")
	r.send(on(n), "untouched", "ann", "still here")

	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()

	secret, token := []string{"--auth-secret-file", c.SecretFile()}, []string{"--join-token-file", c.TokenFile()}
	ports := func() []string {
		return []string{"--listen-client", clustertest.Addr(t), "--listen-peer", clustertest.Addr(t)}
	}
	line := func(parts ...any) []string {
		var args []string
		for _, p := range parts {
			switch p := p.(type) {
			case string:
				args = append(args, p)
			case []string:
				args = append(args, p...)
			}
		}
		return args
	}
	fresh := func(name string) []string { return []string{"--data-dir", filepath.Join(dir, name), "--node-id", name} }

	// A stopped member of the other cluster, for a start with the wrong peer.
	stray := other.Add(t)
	stray.Start(t)
	stray.Stop(t)

	tests := []struct {
		name string
		args []string
		code int
		want string // part of what it says
	}{
		{"no secret", line("start", "--bootstrap", fresh("a1"), ports()), 1, "--auth-secret-file"},
		{"short secret", line("start", "--bootstrap", fresh("a2"), ports(), "--auth-secret-file", file("short", "abc")), 1, "at least"},
		{"absent secret file", line("start", "--bootstrap", fresh("a3"), ports(), "--auth-secret-file", filepath.Join(dir, "none")), 1, "no such file"},
		{"empty directory", line("start", fresh("a4"), ports(), secret), 1, "--bootstrap"},
		{"no directory", line("start", "--bootstrap", ports(), secret), 1, "--data-dir"},
		{"directory is a file", line("start", "--bootstrap", "--data-dir", file("plain", "x"), ports(), secret), 1, "data directory"},
		{"second process", line("start", "--data-dir", n.Dir, "--node-id", n.ID, ports(), secret), 1, "another process uses this data directory"},
		{"busy client port", line("start", "--bootstrap", fresh("a5"), "--listen-client", busy.Addr().String(), "--listen-peer", clustertest.Addr(t), secret), 1, "in use by another process"},
		{"busy peer port", line("start", "--bootstrap", fresh("a6"), "--listen-client", clustertest.Addr(t), "--listen-peer", n.Peer, secret), 1, "in use by another process"},
		{"another node's directory", line("start", "--data-dir", stray.Dir, "--node-id", "someone", ports(), secret), 1, "belongs to node"},
		{"peer of another cluster", line("join", "--peer", n.Peer, "--data-dir", stray.Dir, "--node-id", stray.ID, ports(), secret, token), 1, "to another one"},
		{"wrong join token", line("join", "--peer", n.Peer, fresh("a7"), ports(), secret, "--join-token-file", file("token", "not-the-token-of-this-cluster")), 1, "bad_join_token"},
		{"no join token", line("join", "--peer", n.Peer, fresh("a8"), ports(), secret), 1, "--join-token-file"},
		{"nobody at the peer", line("join", "--peer", busy.Addr().String(), "--join-timeout", "500ms", fresh("a9"), ports(), secret, token), 1, "given up"},
		{"node id in use", line("join", "--peer", n.Peer, "--data-dir", filepath.Join(dir, "a10"), "--node-id", n.ID, ports(), secret, token), 1, "in use by another data directory"},
		{"open to the network", line("start", "--bootstrap", fresh("a11"), "--listen-client", "0.0.0.0:0", "--listen-peer", clustertest.Addr(t), secret), 1, "--insecure"},
		{"open profiles", line("start", "--bootstrap", fresh("a12"), ports(), "--listen-debug", "0.0.0.0:0", secret), 1, "loopback"},
		{"typing error in a file", line("start", "--bootstrap", fresh("a13"), ports(), secret, "--config", file("c.yaml", "listen:\n  cleint: 127.0.0.1:1\n")), 1, "cleint"},
		{"absent file", line("start", "--config", filepath.Join(dir, "none.yaml")), 1, "no such file"},
		{"several faults at once", line("start", "--bootstrap", fresh("a14"), ports(), secret, "--groups", "999", "--replicas", "2"), 1, "cluster.replicas"},
		{"unknown storage", line("start", "--bootstrap", fresh("a15"), ports(), secret, "--storage-log", "paper"), 1, "storage.log"},
		{"unknown flag", line("start", "--bootstarp"), 2, "unknown flag"},
		{"unknown command", line("sart"), 2, "unknown command"},
		{"join without peer", line("join", fresh("a16")), 2, "peer"},
		{"check of a running node", line("check", n.Dir), 1, "another process uses this data directory"},
		{"check of nothing", line("check", filepath.Join(dir, "nothing")), 1, "no such file"},
		{"status with a wrong secret", line("status", "--addr", n.URL(), "--auth-secret-file", file("wrong", strings.Repeat("z", 32))), 2, "unauthenticated"},
		{"status without a secret", line("status", "--addr", n.URL()), 2, "who are you"},
		{"status with a user's token", line("status", "--addr", n.URL(), "--token", c.Token(t, "ann")), 2, "admin scope"},
		{"token for a malformed user", line("token", "no spaces please", secret), 1, "user id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, errs, code := clustertest.Run(t, tt.args...)
			if said := out + errs; code != tt.code || !strings.Contains(said, tt.want) {
				t.Errorf("chatnode %s\nended with %d and said:\n%s\nwant %d and %q in it", strings.Join(tt.args, " "), code, said, tt.code, tt.want)
			}
		})
	}
	if got := r.texts(n, "untouched", "ann"); len(got) != 1 || got[0] != "still here" {
		t.Errorf("after all that the node reads %q", got)
	}
	report, err := c.Report(t, n)
	if err != nil || len(report.Nodes) != 1 {
		t.Errorf("the cluster has %d nodes after refused joins, want 1 (%v)", len(report.Nodes), err)
	}
}

// TestDev starts the node for trying things, twice on the same directory.
func TestDev(t *testing.T) {
	c := clustertest.New(t, clustertest.Config{})
	n := c.AddWith(t, "dev")
	n.Start(t)
	for _, want := range []string{"data     " + n.Dir, "token    chatnode token", "Not for production"} {
		if !strings.Contains(n.Log(), want) {
			t.Errorf("dev does not say %q:\n%s", want, n.Log())
		}
	}
	token, errs, code := clustertest.Run(t, "token", "ann", "--data-dir", n.Dir)
	if code != 0 {
		t.Fatalf("token: %d %s", code, errs)
	}
	if out, err := c.Get(n.URL()+"/v1/openapi.json", strings.TrimSpace(token)); err != nil || !strings.Contains(string(out), "openapi") {
		t.Errorf("openapi: %v", err)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if _, err := c.Get(n.URL()+path, ""); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if out, errs, code := clustertest.Run(t, "status", "--data-dir", n.Dir); code != 0 || !strings.Contains(out, "healthy: 1 of 1") {
		t.Errorf("status: %d %s%s", code, out, errs)
	}
	if code := n.Stop(t); code != 0 {
		t.Errorf("stop: %d\n%s", code, n.Tail(10))
	}
	n.Start(t)
	if _, err := c.Get(n.URL()+"/readyz", ""); err != nil {
		t.Error(err)
	}
}
