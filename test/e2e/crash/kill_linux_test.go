package crash

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/bench/chaos"
	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestKill: kill -9 under load of any node, of leaders, of a majority and of all
// nodes at once. The clients are plain SDK clients and get no help; afterwards
// every replica is read in full and the state hashes are compared.
func TestKill(t *testing.T) {
	tests := []struct {
		name   string
		seed   uint64
		faults []string
	}{
		{"any node", 1, []string{"kill"}},
		{"the leader", 2, []string{"kill-leader"}},
		{"a majority", 3, []string{"kill-two"}},
		{"all at once", 4, []string{"kill-all"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := chaos.DefaultConfig()
			cfg.Binary, cfg.Dir = clustertest.Binary(t), filepath.Join(t.TempDir(), "run")
			cfg.Seed, cfg.Faults = tt.seed, tt.faults
			cfg.Load, cfg.Calm, cfg.Liveness = 10*time.Second, time.Second, 2*time.Minute
			cfg.Clients, cfg.Conversations, cfg.Rate = 10, 6, 15
			cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
			res, err := chaos.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !res.OK {
				t.Errorf("failures %v\n%s\nagain: %s", res.Failures, res.Check, res.Replay)
			}
			if res.Injected[tt.faults[0]] == 0 || res.Check.Acked == 0 || res.Check.Hashes == 0 {
				t.Errorf("nothing was tested: injected %v, %s", res.Injected, res.Check)
			}
		})
	}
}
