package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/store"
)

// TestFailedReadIsNotPassedOver has the older half of a history in a table that can
// not be read, from the first row on or from a later one, and the newer half in
// memory: a scan that stops early must not give the newer rows for the first ones.
func TestFailedReadIsNotPassedOver(t *testing.T) {
	const half = 200
	for _, number := range []func([]byte) (uint64, bool){nil, entryNumber} {
		var broken atomic.Bool
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if broken.Load() && op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") {
				return syscall.EIO
			}
			return nil
		}))
		s := openState(t, "state", store.StateOptions{FS: fs, Number: number, CacheBytes: 1})
		g := group(t, s, 1)
		history(t, g, 1, 1, half)
		b := g.Begin()
		for seq := uint64(half + 1); seq <= 2*half; seq++ {
			if err := b.Set(entryKey(nil, 1, 0, seq), make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Commit(2, 1); err != nil {
			t.Fatal(err)
		}
		readers := map[string]func() (fsm.Reader, func()){
			"view": func() (fsm.Reader, func()) {
				v, err := g.View()
				if err != nil {
					t.Fatal(err)
				}
				return v, func() { _ = v.Close() } // it may repeat the error
			},
			"batch": func() (fsm.Reader, func()) {
				b := g.Begin()
				return b, b.Close
			},
		}
		for name, open := range readers {
			for _, after := range []int{0, 1, 60} { // rows that can be read
				t.Run(fmt.Sprintf("%s, %d rows, filter %v", name, after, number != nil), func(t *testing.T) {
					r, done := open()
					defer done()
					broken.Store(after == 0)
					defer broken.Store(false)
					var got uint64
					err := r.Scan(entryKey(nil, 1, 0, 1), entryKey(nil, 1, 0, 2*half+1), false, func(k, _ []byte) (bool, error) {
						got++
						if seq, _ := entryNumber(k); seq != got {
							t.Errorf("row %d of the scan is %d", got, seq)
							return false, nil
						}
						if got == uint64(after) {
							broken.Store(true)
						}
						return got < half+50, nil
					})
					if !errors.Is(err, syscall.EIO) {
						t.Errorf("Scan = %v after %d rows, want the error of the disk", err, got)
					}
				})
			}
		}
	}
}
