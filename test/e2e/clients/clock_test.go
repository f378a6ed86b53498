package clients

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/internal/fault"
	"github.com/chatnode/chatnode/internal/fault/clock"
	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

// A node's wall clock is put right while its proposals wait for a leader. What it
// had set itself for soon must not be half an hour away now.
func TestSendsOutlastAClockThatIsSet(t *testing.T) {
	if missing := fault.Need(fault.Clocks); missing != "" {
		t.Skip("SKIPPED: to set the clock of a process needs ", missing)
	}
	if !clock.Supported {
		t.Skip("SKIPPED: clocks of processes are set on linux/amd64 only")
	}
	c := clustertest.Start(t, clustertest.Config{Nodes: 3})
	first := c.Nodes[0]
	ann := dial(t, c, "ann", first.URL())
	const convs = 32 // over all groups, most likely
	for i := range convs {
		if _, err := ann.Create(within(t), client.Conversation{Conv: conv(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := clock.Jump(first.PID(), 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	const lost = "no longer leading"
	before := strings.Count(first.Log(), lost)
	for _, n := range c.Nodes[1:] {
		n.Signal(t, syscall.SIGSTOP)
	}
	var sending sync.WaitGroup
	for i := range convs {
		sending.Go(func() {
			if _, err := ann.Send(t.Context(), client.Message{Conv: conv(i), Text: "hello"}); err != nil {
				t.Errorf("%s: %v", conv(i), err)
			}
		})
	}
	clustertest.Until(t, "n1 waits for leaders", func() error {
		b, err := c.Get(first.URL()+"/metrics", "")
		if err == nil && strings.Contains(string(b), "chatnode_route_retries_total 0\n") {
			err = errors.New("nothing was tried again yet")
		}
		return err
	})
	clustertest.Until(t, "n1 leads no more", func() error {
		if strings.Count(first.Log(), lost) == before {
			return errors.New("it still leads")
		}
		return nil
	})
	if err := clock.Jump(first.PID(), 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes[1:] {
		n.Signal(t, syscall.SIGCONT)
	}
	sending.Wait()
}
