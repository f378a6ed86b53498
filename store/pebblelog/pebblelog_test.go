package pebblelog_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/pebblelog"
	"github.com/chatnode/chatnode/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLog(t *testing.T) {
	storetest.RunLog(t, func(t testing.TB) storetest.Opener {
		dir := t.TempDir()
		return func(t testing.TB) store.Log {
			t.Helper()
			l, err := pebblelog.Open(dir, pebblelog.Options{MemtableBytes: 4 << 20})
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			return l
		}
	})
}
