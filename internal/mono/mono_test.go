package mono

import (
	"strings"
	"testing"
	"time"
)

func TestNow(t *testing.T) {
	now := time.Now()
	a, b := Of(now), Now()
	if a > b || a < int64(time.Hour) {
		t.Errorf("Of = %d, then Now = %d", a, b)
	}
	if got := Of(now.Add(time.Minute)) - a; got != int64(time.Minute) {
		t.Errorf("a minute later is %v later", time.Duration(got))
	}
	if d := Since(a); d < 0 || d > time.Minute {
		t.Errorf("Since = %v", d)
	}
	if Since(0) < time.Hour {
		t.Error("0 is not long ago")
	}
	// A time shows its monotonic reading; without it Sub counts by the wall clock.
	if s := begin.String(); !strings.Contains(s, " m=") {
		t.Errorf("begin is %s, which has no monotonic reading", s)
	}
}
