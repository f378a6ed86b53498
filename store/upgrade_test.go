package store_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/store"
)

// TestOpenWithEngineLog opens a directory of the time when rows went through the
// engine's own log and memtable, as a killed process left it.
func TestOpenWithEngineLog(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := pebble.Open("state", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatTableFormatV6})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{}
	for n := range 3 {
		if err := db.Set(rowKey(1, n), []byte("old"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("%03d=old", n))
	}
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	g := group(t, openState(t, "state", store.StateOptions{FS: after}), 1)
	if diff := cmp.Diff(want, viewRows(t, g)); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
	put(t, g, 1, map[int]string{0: "new"})
	if err := g.Barrier(); err != nil {
		t.Fatal(err)
	}
	want[0] = "000=new"
	if diff := cmp.Diff(want, viewRows(t, g)); diff != "" {
		t.Errorf("rows differ after a flush (-want +got):\n%s", diff)
	}
	if err := g.Drop(); err != nil {
		t.Fatal(err)
	}
	if got := viewRows(t, g); len(got) != 0 {
		t.Errorf("after Drop: %q", got)
	}
}
