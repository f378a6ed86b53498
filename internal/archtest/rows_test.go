package archtest

import (
	"strings"
	"testing"
)

// row places a package, and all below its path, in the order of imports: a
// package imports only packages of a lower rank. only, when given, narrows
// that further to the named paths.
type row struct {
	path string
	rank int
	only []string
}

// rows is searched for the longest path that fits. The rank's first digit is
// the row of docs/architecture.md; the second orders packages within it.
var rows = []row{
	{path: "chat", rank: 0},
	{path: "merkle", rank: 1},
	{path: "internal", rank: 5},
	{path: "shard", rank: 10},
	{path: "wire", rank: 10},
	{path: "fsm", rank: 11},
	{path: "fsm/conv", rank: 12},
	{path: "fsm/meta", rank: 12},
	{path: "fsm/fsmtest", rank: 19},
	{path: "store", rank: 20},
	{path: "auth", rank: 20},
	{path: "shard/raftgroup", rank: 21},
	{path: "session", rank: 31},
	{path: "fanout", rank: 30},
	{path: "shard/router", rank: 30},
	{path: "client", rank: 40, only: []string{"wire", "chat", "merkle", "internal/mono"}},
	{path: "api", rank: 40},
	{path: "ws", rank: 40},
	{path: "node/peer", rank: 40},
	{path: "shard/placement", rank: 40},
	{path: "node", rank: 50},
	{path: "bench/plan", rank: 50, only: []string{}},
	{path: "bench", rank: 50, only: []string{"client", "wire", "chat", "merkle", "internal", "bench"}},
	{path: "test", rank: 60},
	{path: "cmd", rank: 60},
}

func within(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func rowOf(path string) (row, bool) {
	var best row
	found := false
	for _, r := range rows {
		if within(path, r.path) && (!found || len(r.path) > len(best.path)) {
			best, found = r, true
		}
	}
	return best, found
}

func TestRows(t *testing.T) {
	for _, p := range packages(t) {
		own, ok := rowOf(p.rel())
		if !ok {
			t.Errorf("%s is in no row: place it in the table of this test, after thinking about who may import it", p.rel())
			continue
		}
		for _, imp := range p.Imports {
			path, inside := strings.CutPrefix(imp, module+"/")
			if !inside {
				continue
			}
			checkImport(t, p.rel(), own, path)
		}
	}
}

func checkImport(t *testing.T, from string, own row, to string) {
	t.Helper()
	target, ok := rowOf(to)
	switch {
	case !ok:
		t.Errorf("%s imports %s, which is in no row", from, to)
	case own.path == target.path:
		// Packages of one subtree order themselves; Go forbids cycles.
	case target.rank >= own.rank && !within(from, to):
		t.Errorf("%s (rank %d) imports %s (rank %d): imports go downward only; let %s declare an interface that node fulfils", from, own.rank, to, target.rank, from)
	}
	if own.only == nil {
		return
	}
	for _, allowed := range own.only {
		if within(to, allowed) || own.path == target.path {
			return
		}
	}
	t.Errorf("%s imports %s: %s may import only %s", from, to, own.path, strings.Join(own.only, ", "))
}

// owners names who may import an outside library: the rest of the tree must be
// able to live without it.
var owners = []struct {
	library string
	paths   []string
}{
	{"github.com/hashicorp/raft", []string{"shard/raftgroup"}},
	{"github.com/hashicorp/raft-boltdb", []string{"shard/raftgroup", "store"}},
	{"github.com/cockroachdb/pebble", []string{"store"}},
	{"github.com/labstack/echo", []string{"api"}},
	{"github.com/olahol/melody", []string{"ws"}},
	{"github.com/spf13/viper", []string{"internal/config"}},
	{"github.com/spf13/cobra", []string{"cmd"}},
	{"google.golang.org/grpc", []string{"node/peer"}},
	{"github.com/golang-jwt/jwt", []string{"auth"}},
	{"github.com/anishathalye/porcupine", []string{"internal/check", "bench"}},
}

func TestLibrariesHaveOneOwner(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			for _, o := range owners {
				if within(imp, o.library) || strings.HasPrefix(imp, o.library+"/v") {
					if !anyWithin(p.rel(), o.paths) {
						t.Errorf("%s imports %s, which only %s may", p.rel(), imp, strings.Join(o.paths, " and "))
					}
				}
			}
		}
	}
}

func anyWithin(path string, parents []string) bool {
	for _, parent := range parents {
		if within(path, parent) {
			return true
		}
	}
	return false
}
