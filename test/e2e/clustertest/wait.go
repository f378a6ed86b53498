package clustertest

import (
	"testing"
	"time"
)

// How long conditions may take. A healthy machine needs a fraction of it; a
// loaded one must not fail for being slow.
const (
	Patience = 90 * time.Second
	interval = 20 * time.Millisecond
)

// Until looks at ok until it gives nil. It fails the test when that takes
// longer than [Patience].
func Until(tb testing.TB, what string, ok func() error) {
	tb.Helper()
	if err := poll(Patience, ok); err != nil {
		tb.Fatalf("%s: not within %v: %v", what, Patience, err)
	}
}

func poll(patience time.Duration, ok func() error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return err
		case <-tick.C:
		}
	}
}
