package store

import (
	"fmt"
	"sync"
)

// Fatal remembers the first failed write of a store and tells the owner once.
type Fatal struct {
	onFatal func(error)
	failed  chan struct{} // closed with the first failure

	mu  sync.Mutex // guards err
	err error
}

// NewFatal gives one without a failure. onFatal may be nil.
func NewFatal(onFatal func(error)) *Fatal {
	return &Fatal{onFatal: onFatal, failed: make(chan struct{})}
}

// Fail records err as the end of the store unless there was one before, and
// returns the error that counts. The owner is told from a goroutine of its own,
// since Fail is called under locks.
func (f *Fatal) Fail(op string, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = fmt.Errorf("%s: %w", op, err)
		close(f.failed)
		if f.onFatal != nil {
			go f.onFatal(f.err)
		}
	}
	return f.err
}

// Failed is closed when there is an error.
func (f *Fatal) Failed() <-chan struct{} { return f.failed }

// Err is the recorded error, nil while the store is sound.
func (f *Fatal) Err() error {
	select {
	case <-f.failed:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.err
	default:
		return nil
	}
}

// Guard calls fn and makes a panic of it the failure. The storage engine panics
// when it cannot write its log; it holds locks then and must not be called again.
func (f *Fatal) Guard(op string, fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			cause, ok := r.(error)
			if !ok {
				cause = fmt.Errorf("%v", r)
			}
			err = f.Fail(op, cause)
		}
	}()
	if err := fn(); err != nil {
		return f.Fail(op, err)
	}
	return f.Err() // some failures come through the engine's logger only
}
