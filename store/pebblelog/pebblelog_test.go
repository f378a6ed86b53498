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
	storetest.RunLog(t, func(tb testing.TB) storetest.Opener {
		tb.Helper()
		dir := tb.TempDir()
		return func(tb testing.TB) store.Log {
			tb.Helper()
			l, err := pebblelog.Open(dir, pebblelog.Options{MemtableBytes: 4 << 20})
			if err != nil {
				tb.Fatalf("Open = %v", err)
			}
			return l
		}
	})
}
