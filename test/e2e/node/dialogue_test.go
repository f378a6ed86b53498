package nodetest

import (
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

// line is one line of a dialogue.
type line struct{ user, text string }

// dialogues reads conversations of the test data, by their names.
func dialogues(t *testing.T) map[string][]line {
	t.Helper()
	b, err := os.ReadFile("testdata/dialogue.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]line)
	name := ""
	for l := range strings.SplitSeq(string(b), "\n") {
		switch {
		case l == "" || strings.HasPrefix(l, "#"):
		case strings.HasPrefix(l, "= "):
			name = l[2:]
		default:
			speaker, text, ok := strings.Cut(l, ": ")
			if !ok || name == "" {
				t.Fatalf("test data: %q", l)
			}
			all[name] = append(all[name], line{userOf(speaker), text})
		}
	}
	return all
}

// userOf makes a user id of a speaker's name in any script.
func userOf(speaker string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' {
			return r
		}
		return -1
	}, speaker)
	if plain == speaker {
		return plain
	}
	h := fnv.New32a()
	h.Write([]byte(speaker))
	return fmt.Sprintf("speaker-%08x", h.Sum32())
}

// TestDialogues imports real dialogues in several scripts, each several times
// and all at once, every line over another node, and reads them back byte for
// byte from each node.
func TestDialogues(t *testing.T) {
	const copies = 4
	c := clustertest.Start(t, clustertest.Config{Nodes: 3})
	all := dialogues(t)
	var wg sync.WaitGroup
	lines := 0
	for name, script := range all {
		for k := range copies {
			conv := fmt.Sprintf("%s.%d", name, k)
			lines += len(script)
			r := newRoom(t, c) // one per goroutine: it keeps tokens
			r.create(conv, "librarian", speakers(script)...)
			wg.Go(func() {
				for i, l := range script {
					r.send(func(try int) *clustertest.Node { return c.Nodes[(k+i+try)%3] }, conv, l.user, l.text)
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d lines in %d conversations", lines, copies*len(all))

	r := newRoom(t, c)
	for name, script := range all {
		for k := range copies {
			conv := fmt.Sprintf("%s.%d", name, k)
			for _, n := range c.Nodes {
				var got []line
				for _, e := range r.read(n, conv, "librarian") {
					if e.Type == "message" {
						got = append(got, line{e.Sender, e.Text})
					}
				}
				if diff := cmp.Diff(script, got, cmp.AllowUnexported(line{})); diff != "" {
					t.Errorf("%s on %s (-imported +read):\n%s", conv, n.ID, diff)
				}
			}
		}
	}
}

func speakers(script []line) []string {
	seen := make(map[string]bool)
	var all []string
	for _, l := range script {
		if !seen[l.user] {
			seen[l.user] = true
			all = append(all, l.user)
		}
	}
	return all
}
