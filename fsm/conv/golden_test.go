package conv_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

// goldenLog is a log of level 1: lines of batches, then the fingerprint of the
// state they lead to. From the first release on it stays as it is, and later
// versions must follow it to the same state, byte for byte.
const goldenLog = "testdata/level1.log"

func TestGoldenLog(t *testing.T) {
	if *update {
		writeGoldenLog(t)
	}
	batches, results, want := readGoldenLog(t)
	for _, tt := range []struct {
		name     string
		restarts bool
	}{{"in one run", false}, {"with a restart before each batch", true}} {
		t.Run(tt.name, func(t *testing.T) {
			m, s := conv.New(3, nil), fsmtest.NewStore()
			for i, b := range batches {
				if tt.restarts {
					m.Reset()
				}
				res, err := m.Apply(s, uint64(i+1), b, nil)
				if err != nil {
					t.Fatalf("batch %d: %v", i, err)
				}
				if got := summary(res); got != results[i] {
					t.Errorf("batch %d answers %s, want %s", i, got, results[i])
				}
			}
			got, err := m.Fingerprint(s)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got[:]) != want {
				t.Errorf("fingerprint = %x, want %s", got, want)
			}
		})
	}
}

// summary is what a golden log keeps of the results: codes, places and roots.
func summary(res []fsm.Result) string {
	var parts []string
	for _, r := range res {
		if r.Code != chat.OK {
			parts = append(parts, string(r.Code))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d/%d/%d/%v/%x", r.Ack.Seq, r.Ack.MsgNo, r.Ack.TimeMS, r.Ack.Dup, r.Ack.Root[:4]))
	}
	return strings.Join(parts, ",")
}

func writeGoldenLog(t *testing.T) {
	t.Helper()
	var out strings.Builder
	g := fsmtest.NewGenerator(1)
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: fsmtest.NewStore()}
	for range 150 {
		at, cmds := g.Tick(), []fsm.Command{g.Next(), g.Next(), g.Next()}
		fmt.Fprintf(&out, "batch %x\n", l.Payload(at, cmds...))
		l.Salts -= 3
		res, err := l.Apply(at, cmds...)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "answer %s\n", summary(res))
	}
	h, err := l.Machine.Fingerprint(l.Store)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "fingerprint %x\n", h)
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldenLog, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readGoldenLog(t *testing.T) (batches [][]byte, results []string, fingerprint string) {
	t.Helper()
	f, err := os.Open(goldenLog)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		name, val, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "batch":
			b, err := hex.DecodeString(val)
			if err != nil {
				t.Fatal(err)
			}
			batches = append(batches, b)
		case "answer":
			results = append(results, val)
		case "fingerprint":
			fingerprint = val
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return batches, results, fingerprint
}

const childEnv = "CHATNODE_TEST_REPLAY_CHILD"

// TestReplayInAnotherProcess replays drawn batches in a second process, where
// maps have another order, and compares the state.
func TestReplayInAnotherProcess(t *testing.T) {
	g := fsmtest.NewGenerator(77)
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: fsmtest.NewStore()}
	for range 800 {
		if _, err := l.Apply(g.Tick(), g.Next(), g.Next()); err != nil {
			t.Fatal(err)
		}
	}
	h, err := l.Machine.Fingerprint(l.Store)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(childEnv) != "" {
		fmt.Printf("fingerprint=%x\n", h)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), exe, "-test.run=^TestReplayInAnotherProcess$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("the second process failed: %v\n%s", err, out)
	}
	if want := fmt.Sprintf("fingerprint=%x\n", h); !strings.Contains(string(out), want) {
		t.Errorf("the second process says\n%s\nwant %s", out, want)
	}
}
