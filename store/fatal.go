package store

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Fatal remembers the first failed write of a store and tells the owner once.
// The zero value with a nil OnFatal remembers only.
type Fatal struct {
	OnFatal func(error)

	once  sync.Once
	first atomic.Pointer[error]
}

// Fail records err as the end of the store unless there was one before, and
// returns the error that counts. The owner is told from a goroutine of its own,
// since Fail is called under locks.
func (f *Fatal) Fail(op string, err error) error {
	f.once.Do(func() {
		wrapped := fmt.Errorf("%s: %w", op, err)
		f.first.Store(&wrapped)
		if f.OnFatal != nil {
			go f.OnFatal(wrapped)
		}
	})
	return f.Err()
}

// Err is the recorded error, nil while the store is sound.
func (f *Fatal) Err() error {
	if p := f.first.Load(); p != nil {
		return *p
	}
	return nil
}
