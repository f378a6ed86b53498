package atrest

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFlipChangesOneBitWithinTheData(t *testing.T) {
	for seed := range uint64(50) {
		path := filepath.Join(t.TempDir(), "f")
		data := bytes.Repeat([]byte{7}, 1000)
		write(t, path, append(append([]byte(nil), data...), make([]byte, 100_000)...))
		said, err := Flip(rand.New(rand.NewPCG(seed, 0)), path, 0.5, 1)
		if err != nil {
			t.Fatal(err)
		}
		got, changed := read(t, path), 0
		for i := range got {
			want := byte(0)
			if i < len(data) {
				want = data[i]
			}
			if n := bits.OnesCount8(got[i] ^ want); n > 0 {
				changed += n
				if i < 500 || i >= 1000 {
					t.Errorf("seed %d: byte %d is outside the second half of the data (%s)", seed, i, said)
				}
			}
		}
		if changed != 1 {
			t.Errorf("seed %d: %d bits changed (%s)", seed, changed, said)
		}
	}
}

func TestFlipOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, make([]byte, 10))
	if _, err := Flip(rand.New(rand.NewPCG(1, 0)), path, 0, 1); err == nil {
		t.Error("flipped a bit of a file of zeros")
	}
}

func TestCutTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, append([]byte("0123456789"), make([]byte, 50)...))
	if _, err := CutTail(path, 3); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); string(got) != "0123456" {
		t.Errorf("left %q", got)
	}
}

func TestRollBackAndWipe(t *testing.T) {
	dir, old := t.TempDir(), filepath.Join(t.TempDir(), "old")
	write(t, filepath.Join(dir, "a", "x"), []byte("1"))
	write(t, filepath.Join(dir, "keep"), []byte("k"))
	if err := Copy(dir, old); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a", "x"), []byte("2"))
	write(t, filepath.Join(dir, "b"), []byte("3"))
	if err := RollBack(dir, old); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "a", "x")); string(got) != "1" {
		t.Errorf("a/x = %q after the roll-back", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "b")); err == nil {
		t.Error("b is still there after the roll-back")
	}
	if err := Wipe(dir, "keep"); err != nil {
		t.Fatal(err)
	}
	files, err := Files(dir, 0, "*")
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != "keep" {
		t.Errorf("after the wipe: %v, %v", files, err)
	}
}

func TestFilesByPatternAndSize(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "l", "1.log"), make([]byte, 10))
	write(t, filepath.Join(dir, "l", "2.log"), make([]byte, 20))
	write(t, filepath.Join(dir, "3.sst"), make([]byte, 20))
	got, err := Files(dir, 15, "*.log", "*.txt")
	if err != nil || len(got) != 1 || filepath.Base(got[0]) != "2.log" {
		t.Errorf("Files = %v, %v", got, err)
	}
}
