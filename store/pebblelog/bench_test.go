package pebblelog_test

import (
	"testing"

	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/pebblelog"
	"github.com/chatnode/chatnode/store/storetest"
)

func BenchmarkLog(b *testing.B) {
	storetest.BenchLog(b, func(t testing.TB) storetest.Opener {
		dir := t.TempDir()
		return func(t testing.TB) store.Log {
			l, err := pebblelog.Open(dir, pebblelog.Options{})
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			return l
		}
	})
}
