// Package clients lets programs of three kinds talk over real nodes: a page in
// Chromium with the browser's own WebSocket, a Node program with package ws, and
// the Go SDK. What one of them sees, all see, in the same order.
package clients

import (
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// absent skips a test for the want of a tool, loudly, and fails it in CI where
// the tools belong to the machine.
func absent(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is absent from this CI machine", tool)
	}
	t.Skipf("SKIPPED, NOT TESTED: %s is absent", tool)
}

// within bounds a wait.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clustertest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// dial connects a user to the addresses in the order given.
func dial(t *testing.T, c *clustertest.Cluster, user string, addrs ...string) *client.Client {
	t.Helper()
	cfg := client.DefaultConfig()
	cfg.InOrder = true
	cfg.SendTimeout = clustertest.Patience
	cfg.BackoffMin, cfg.BackoffMax = 10*time.Millisecond, time.Second
	got, err := client.Dial(within(t), addrs, client.StaticToken(c.Token(t, user)), cfg)
	if err != nil {
		t.Fatalf("%s cannot connect: %v", user, err)
	}
	t.Cleanup(func() { _ = got.Close() })
	return got
}
