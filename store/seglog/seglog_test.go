package seglog_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/seglog"
	"github.com/chatnode/chatnode/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts seglog.Options
	}{
		{"small segments and no cache", seglog.Options{SegmentBytes: 12 << 10, CacheBytes: 1}},
		{"one segment", seglog.Options{SegmentBytes: 8 << 20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			storetest.RunLog(t, func(tb testing.TB) storetest.Opener {
				tb.Helper()
				dir := tb.TempDir()
				return func(tb testing.TB) store.Log {
					tb.Helper()
					l, err := seglog.Open(dir, tt.opts)
					if err != nil {
						tb.Fatalf("Open = %v", err)
					}
					return l
				}
			})
		})
	}
}
