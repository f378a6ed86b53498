package seglog_test

import (
	"testing"

	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/seglog"
	"github.com/chatnode/chatnode/store/storetest"
)

func BenchmarkLog(b *testing.B) {
	storetest.BenchLog(b, func(tb testing.TB) storetest.Opener {
		tb.Helper()
		dir := tb.TempDir()
		return func(tb testing.TB) store.Log {
			tb.Helper()
			l, err := seglog.Open(dir, seglog.Options{})
			if err != nil {
				tb.Fatalf("Open = %v", err)
			}
			return l
		}
	})
}
