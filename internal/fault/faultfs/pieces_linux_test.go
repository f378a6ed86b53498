package faultfs

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPiecesOfALargeWrite: the kernel hands a large write on in pieces. Where a
// later piece fails, the writer learns of a short write and goes on with the
// rest, so a fault that has to be noticed must meet the rest as well.
func TestPiecesOfALargeWrite(t *testing.T) {
	for times, want := range map[int64]bool{1: false, 2: true} {
		f, _, dir := mount(t)
		w, err := os.Create(filepath.Join(dir, "log-1"))
		if err != nil {
			t.Fatal(err)
		}
		rule := &Rule{Op: Write, Glob: "*", Errno: syscall.EIO, Short: 100, Skip: 1, Times: times}
		f.Set(rule)
		_, err = w.Write(make([]byte, 1<<20))
		if (err != nil) != want || rule.Hits() < 3 {
			t.Errorf("%d failing pieces: the writer sees %v after %d pieces, want an error: %v", times, err, rule.Hits(), want)
		}
		f.Clear()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}
