package faultfs

import (
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

// Op is a kind of file operation.
type Op string

// The kinds that rules act on.
const (
	Write  Op = "write"
	Fsync  Op = "fsync"
	Read   Op = "read"
	Create Op = "create"
	Rename Op = "rename"
)

// Rule is one fault.
type Rule struct {
	Op    Op
	Glob  string        // of the base name of the file
	Skip  int64         // hits that pass before it acts
	Times int64         // hits that it acts on, 0 = all
	Delay time.Duration // waits before anything else
	Errno syscall.Errno // 0 = the operation goes on
	Short int           // bytes that a failing write leaves in the file

	hits atomic.Int64
}

// Hits is how often an operation matched.
func (r *Rule) Hits() int64 { return r.hits.Load() }

// Acted reports whether it has failed or held up an operation.
func (r *Rule) Acted() bool { return r.Hits() > r.Skip }

// match counts a hit and reports whether the rule acts on it.
func (r *Rule) match(op Op, path string) bool {
	if r.Op != op {
		return false
	}
	if ok, _ := filepath.Match(r.Glob, filepath.Base(path)); !ok {
		return false
	}
	n := r.hits.Add(1)
	return n > r.Skip && (r.Times == 0 || n <= r.Skip+r.Times)
}

// Set replaces the rules.
func (f *FS) Set(rules ...*Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = rules
}

// Clear removes all rules.
func (f *FS) Clear() { f.Set() }

// act waits as the rules say and gives the rule that fails the operation.
func (f *FS) act(op Op, path string) *Rule {
	f.mu.RLock()
	rules := f.rules
	f.mu.RUnlock()
	for _, r := range rules {
		if !r.match(op, path) {
			continue
		}
		if r.Delay > 0 {
			time.Sleep(r.Delay)
		}
		if r.Errno != 0 {
			return r
		}
	}
	return nil
}
