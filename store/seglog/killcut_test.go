package seglog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/seglog"
	"github.com/chatnode/chatnode/store/storetest"
)

// churn appends to group 1 and cuts its beginning, so that segments die and come
// back under other names. It ends with the first error.
func churn(l store.Log, n int) error {
	g, err := l.Group(1)
	if err != nil {
		return err
	}
	for range n {
		last := g.LastIndex()
		if err := g.Append([]store.LogEntry{{Index: last + 1, Term: 1, Data: make([]byte, 1500)}}); err != nil {
			return err
		}
		if err := g.WaitDurable(last + 1); err != nil {
			return err
		}
		if last > 4 {
			if err := g.DeleteRange(g.FirstIndex(), last-3); err != nil {
				return err
			}
		}
	}
	return nil
}

var errKilled = errors.New("killed")

// killer fails every operation on files from the first on that kill names, as after
// a kill; none while there is no kill.
type killer struct {
	kill atomic.Pointer[func(op, path string) bool]
}

func (k *killer) fail(op, path string) error {
	kill := k.kill.Load()
	if kill == nil || !(*kill)(op, path) {
		return nil
	}
	dead := func(string, string) bool { return true }
	k.kill.Store(&dead)
	return errKilled
}

func after(n int) func(op, path string) bool {
	var left atomic.Int64
	left.Store(int64(n))
	return func(string, string) bool { return left.Add(-1) < 0 }
}

// killThenPowerCut runs a process until it is killed, and another one on what it
// left. It gives the file system as the second one leaves it, to be cut, and what
// that one made durable.
func killThenPowerCut(t *testing.T, before int, kills ...func(op, path string) bool) (*storetest.CrashFS, uint64) {
	t.Helper()
	var k killer
	fs := storetest.NewCrashFS()
	fs.Fail = k.fail
	var durable uint64
	for i, kill := range kills {
		l := mustOpen(t, fs)
		g, err := l.Group(1)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := churn(l, before); err != nil {
				t.Fatal(err)
			}
		}
		k.kill.Store(&kill)
		_ = churn(l, 100) // as far as it comes
		durable = g.DurableIndex()
		_ = l.Close()
		k.kill.Store(nil)
	}
	return fs, durable
}

// sound opens a log after a power cut.
func sound(t *testing.T, fs *storetest.CrashFS, durable uint64) error {
	t.Helper()
	l, err := seglog.Open("log", small(fs))
	if err != nil {
		return fmt.Errorf("a sound log is refused: %w", err)
	}
	g, err := l.Group(1)
	if err == nil && g.LastIndex() < durable {
		err = fmt.Errorf("last index %d, durable was %d", g.LastIndex(), durable)
	}
	return errors.Join(err, l.Close())
}

// TestKillThenPowerCut: a process is killed when it has renamed a dead segment to a
// spare file. The next one begins a segment in that file, and then the power fails:
// the disk may still know the file by its first name, unless the second process
// made the directory durable before it wrote.
func TestKillThenPowerCut(t *testing.T) {
	var renamed atomic.Bool
	fs, durable := killThenPowerCut(t, 0,
		func(op, path string) bool {
			return renamed.Load() || op == "rename" && strings.HasSuffix(path, ".log") && renamed.Swap(true)
		},
		func(op, _ string) bool { return op == "syncdir" })
	for seed := range uint64(16) {
		if err := sound(t, fs.Cut(rand.New(rand.NewPCG(seed, 9))), durable); err != nil {
			t.Errorf("cut %d: %v", seed, err)
		}
	}
}

// TestKillsThenPowerCut is the same at random moments. Of 3,000 seeds these were
// among those that failed.
func TestKillsThenPowerCut(t *testing.T) {
	seeds := []uint64{25, 324, 1685, 1807, 2868}
	for seed := range uint64(100) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 9))
		fs, durable := killThenPowerCut(t, 10+rng.IntN(30), after(1+rng.IntN(40)), after(1+rng.IntN(30)))
		if err := sound(t, fs.Cut(rng), durable); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
