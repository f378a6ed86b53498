package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/node"
)

// runApp runs one command line in this process, with an empty environment.
func runApp(t *testing.T, environ []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, environ: append(environ, "HOME="+t.TempDir())}
	code = a.run(t.Context(), args)
	return out.String(), errs.String(), code
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		args []string
		code int
		want string // part of what it says
	}{
		{[]string{"version"}, exitOK, "chatnode "},
		{[]string{"--help"}, exitOK, "chatnode dev"},
		{[]string{"nonsense"}, exitUsage, "unknown command"},
		{[]string{"status", "--nonsense"}, exitUsage, "unknown flag"},
		{[]string{"token"}, exitUsage, "arg"},
		{[]string{"join"}, exitUsage, "--peer"},
		{[]string{"token", "ann"}, exitFailure, "who are you"},
		{[]string{"status", "--addr", "ftp://x", "--token", "x"}, 2, "--addr"},
		{[]string{"status", "--data-dir", filepath.Join(t.TempDir(), "none"), "--token", "x"}, 2, "no node runs"},
		{[]string{"status"}, 2, "who are you"},
		{[]string{"status", "--auth-secret-file", filepath.Join(t.TempDir(), "none")}, 2, "secret"},
		{[]string{"status", "--addr", "127.0.0.1:1", "--token", "x"}, 2, "does not answer"},
		{[]string{"transfer", "many", "n1", "--token", "x"}, exitFailure, "number of a group"},
		{[]string{"members", "--data-dir", filepath.Join(t.TempDir(), "none"), "--token", "x"}, exitFailure, "no node runs"},
	}
	for _, tt := range tests {
		out, errs, code := runApp(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(out+errs, tt.want) {
			t.Errorf("chatnode %s: code %d, %q; want %d and %q", strings.Join(tt.args, " "), code, out+errs, tt.code, tt.want)
		}
	}
}

func TestVersionAsJSON(t *testing.T) {
	out, _, _ := runApp(t, nil, "version", "--json")
	var b build
	if err := json.Unmarshal([]byte(out), &b); err != nil || b.Go == "" || b.Version == "" {
		t.Errorf("version --json: %q, %v", out, err)
	}
}

func TestTokenTakesTheSecretOfTheEnvironment(t *testing.T) {
	out, errs, code := runApp(t, []string{"CHATNODE_AUTH_SECRET=" + strings.Repeat("s", 32)}, "token", "ann", "--admin")
	if code != exitOK || strings.Count(out, ".") != 2 {
		t.Errorf("token: %d %q %q", code, out, errs)
	}
}

func TestTables(t *testing.T) {
	r := node.ClusterReport{
		Cluster: "c", Epoch: 3, From: "a", Health: node.Degraded, Reasons: []string{"node b does not answer"},
		Nodes: []node.NodeReport{
			{Node: "a", Client: "h:1", Peer: "h:2", State: "active", Reachable: true, UptimeMS: 61_000, FreeBytes: 3 << 30, Version: "v1", Replicas: 1, Leads: 1},
			{Node: "b", Client: "i:1", Peer: "i:2", State: "active"},
		},
		Groups: []node.GroupReport{{Group: 0, Leader: "a", Term: 2, Last: 9, Applied: 9, Bytes: 1536, Replicas: []node.ReplicaReport{
			{Node: "a", Role: "leader", Voter: true, Applied: 9}, {Node: "b", Role: "unreachable"}, {Node: "c", Role: "follower", Applied: 4, Lag: 5},
		}}},
	}
	var out bytes.Buffer
	if err := writeStatus(&out, r); err != nil {
		t.Fatal(err)
	}
	want := `cluster c is degraded: 1 of 2 nodes answer, 1 of 1 groups have a leader (map epoch 3, asked a)
  node b does not answer

NODE  STATE        CLIENT  PEER  ZONE  REPLICAS  LEADS  UP    FREE     VERSION
a     active       h:1     h:2   -     1         1      1m1s  3.0 GiB  v1
b     unreachable  i:1     i:2   -     0         0      -     -        -

GROUP   SLOTS  LEADER  TERM  LAST  APPLIED  SIZE     REPLICAS (applied, lag)
0 meta  0      a       2     9     9        1.5 KiB  a (9, 0)  b (unreachable)  c (4, 5, catching up)
`
	if got := out.String(); got != want {
		t.Errorf("status:\n%s\nwant:\n%s", got, want)
	}
}
