package clock

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/chatnode/chatnode/internal/fault"
)

// TestMain turns this binary into a clock that tells its time when asked.
func TestMain(m *testing.M) {
	if os.Getenv("CLOCK_TELLER") == "" {
		os.Exit(m.Run())
	}
	start := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(time.Now().Unix(), time.Since(start).Milliseconds())
	}
}

func TestJump(t *testing.T) {
	if missing := fault.Need(fault.Clocks); missing != "" || !Supported {
		t.Skip("SKIPPED: needs linux on amd64 and ", missing)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLOCK_TELLER=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	answers := bufio.NewReader(out)
	ask := func() (wall time.Time, mono int64) {
		t.Helper()
		if _, err := in.Write([]byte("?\n")); err != nil {
			t.Fatal(err)
		}
		line, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var sec int64
		if _, err := fmt.Sscan(line, &sec, &mono); err != nil {
			t.Fatal(strconv.Quote(line), err)
		}
		return time.Unix(sec, 0), mono
	}
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour, 24 * time.Hour, 0} {
		_, before := ask()
		if err := Jump(cmd.Process.Pid, offset); err != nil {
			t.Fatal(err)
		}
		wall, after := ask()
		if d := time.Until(wall) - offset; d < -2*time.Minute || d > 2*time.Minute {
			t.Errorf("after a jump by %v the process is off by %v more", offset, d)
		}
		if after < before || after-before > time.Minute.Milliseconds() {
			t.Errorf("the monotonic clock went from %d ms to %d ms in a jump by %v", before, after, offset)
		}
	}
}
