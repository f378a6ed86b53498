package atrest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Files lists the regular files below dir that hold at least size bytes and
// whose base name matches one of the patterns.
func Files(dir string, size int64, patterns ...string) ([]string, error) {
	var res []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		for _, p := range patterns {
			if ok, _ := filepath.Match(p, d.Name()); ok && info.Size() >= size {
				res = append(res, path)
				return nil
			}
		}
		return nil
	})
	return res, err // WalkDir goes in lexical order
}

// Flip inverts one bit of a byte between the shares lo and hi (0 to 1) of the
// file that holds data: bytes of a preallocated tail of zeros are not touched.
func Flip(rnd *rand.Rand, path string, lo, hi float64) (string, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	n, err := used(f)
	if err != nil || n == 0 {
		return "", errors.Join(err, fmt.Errorf("%s holds nothing", path))
	}
	at := int64((lo + rnd.Float64()*(hi-lo)) * float64(n))
	at = min(at, n-1)
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return "", err
	}
	b[0] ^= 1 << rnd.IntN(8)
	if _, err := f.WriteAt(b[:], at); err != nil {
		return "", err
	}
	return fmt.Sprintf("flipped a bit of byte %d of %d in %s", at, n, path), f.Sync()
}

// used is the length of the file without the zeros at its end.
func used(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 1<<16)
	for end := info.Size(); end > 0; {
		n := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		for i := n - 1; i >= 0; i-- {
			if buf[i] != 0 {
				return end - n + i + 1, nil
			}
		}
		end -= n
	}
	return 0, nil
}

// CutTail takes the last n bytes of the file's data away.
func CutTail(path string, n int64) (string, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	size, err := used(f)
	if err != nil {
		return "", err
	}
	if err := f.Truncate(max(0, size-n)); err != nil {
		return "", err
	}
	return fmt.Sprintf("cut %d of %d bytes from %s", min(n, size), size, path), f.Sync()
}

// Wipe removes everything in dir but not dir itself, which may be a mount.
func Wipe(dir string, keep ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !slices.Contains(keep, e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Copy copies the tree from into the empty or missing directory to.
func Copy(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

// RollBack replaces the content of dir by that of the copy, but for the entries
// of dir that are named.
func RollBack(dir, copied string, keep ...string) error {
	if err := Wipe(dir, keep...); err != nil {
		return err
	}
	entries, err := os.ReadDir(copied)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(copied, e.Name()), filepath.Join(dir, e.Name())
		switch {
		case slices.Contains(keep, e.Name()):
		case e.IsDir():
			if err := Copy(from, to); err != nil {
				return err
			}
		default:
			b, err := os.ReadFile(from)
			if err != nil {
				return err
			}
			if err := os.WriteFile(to, b, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
