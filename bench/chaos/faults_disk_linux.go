package chaos

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/chatnode/chatnode/internal/fault/faultfs"
)

// cut takes the power from one node and brings its disk back as it survived.
func (x *env) cut(n *node) error {
	n.excused("power cut")
	err := n.disk.Cut()
	n.kill()
	return errors.Join(err, n.disk.Restore())
}

func power(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("power cut of %s", n.ID())
	if err := x.cut(n); err != nil {
		return err
	}
	x.hold(0, 3*time.Second)
	return x.restart(n)
}

func powerAll(x *env) error {
	nodes := x.all()
	if len(nodes) == 0 {
		return errIdle
	}
	x.note("power cut of all nodes")
	var wg sync.WaitGroup
	errs := make([]error, len(nodes))
	for i, n := range nodes {
		wg.Go(func() { errs[i] = x.cut(n) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return x.restartAll()
}

// fullRest is what a full disk leaves free: less than the nodes' reserve.
const fullRest = 1 << 20

func full(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("disk of %s is full", n.ID())
	n.excused("disk full")
	if err := n.disk.Fill(fullRest); err != nil {
		return err
	}
	x.hold(2*time.Second, 8*time.Second)
	x.note("disk of %s has space again", n.ID())
	if err := n.disk.Free(); err != nil {
		return err
	}
	return x.revive(n)
}

// dyingMax is how long a process may take to end after the fault that ends it
// is over.
const dyingMax = 3 * time.Second

// revive brings back a node that a disk fault has, or may have, ended.
func (x *env) revive(n *node) error {
	if p := n.process(); p != nil {
		t := time.NewTimer(dyingMax)
		defer t.Stop()
		select {
		case <-t.C:
			n.excused("")
			return nil
		case <-p.Done():
		}
	}
	n.kill()
	return x.restart(n)
}

// fatal sets a rule that must end the process once it acts.
func (x *env) fatal(rule *faultfs.Rule, what string) error {
	n := x.any()
	p := n.processOrNil()
	if p == nil {
		return errIdle
	}
	x.note("%s: %s", n.ID(), what)
	n.excused(what)
	n.files.Set(rule)
	x.hold(5*time.Second, 10*time.Second)
	acted, ended := rule.Acted(), false
	if acted { // the end comes soon after
		t := time.NewTimer(30 * time.Second)
		select {
		case <-p.Done():
			ended = true
		case <-t.C:
		}
		t.Stop()
	}
	n.files.Clear()
	if acted && !ended {
		return fmt.Errorf("%s goes on after: %s", n.ID(), what)
	}
	return x.relieve(n, rule)
}

// relieve brings the node back after a rule that was set for it.
func (x *env) relieve(n *node, rule *faultfs.Rule) error {
	n.files.Clear()
	if err := x.revive(n); err != nil {
		return err
	}
	if !rule.Acted() {
		return errIdle // the node did nothing of the kind meanwhile
	}
	return nil
}

func fsyncFails(x *env) error {
	return x.fatal(&faultfs.Rule{Op: faultfs.Fsync, Glob: "*", Skip: int64(x.rnd.IntN(50)), Times: 1, Errno: syscall.EIO}, "an fsync fails")
}

// tornWrite fails two writes: the kernel passes a large write on in pieces, and
// where a later piece fails the process learns of a short write only. It tries the
// rest again, and would get through.
func tornWrite(x *env) error {
	return x.fatal(&faultfs.Rule{Op: faultfs.Write, Glob: "*", Skip: int64(x.rnd.IntN(50)), Times: 2, Errno: syscall.EIO, Short: 1 + x.rnd.IntN(200)}, "a write is torn")
}

func noSpace(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("writes of %s find no space", n.ID())
	n.excused("no space")
	rule := &faultfs.Rule{Op: faultfs.Write, Glob: "*", Skip: int64(x.rnd.IntN(50)), Errno: syscall.ENOSPC}
	n.files.Set(rule)
	x.hold(time.Second, 4*time.Second)
	return x.relieve(n, rule)
}

func slowDisk(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	d := time.Duration(50+x.rnd.IntN(450)) * time.Millisecond
	x.note("an fsync of %s takes %v", n.ID(), d)
	n.excused("slow disk") // the watchdog may end it
	rule := &faultfs.Rule{Op: faultfs.Fsync, Glob: "*", Delay: d}
	n.files.Set(rule)
	x.hold(3*time.Second, 10*time.Second)
	return x.relieve(n, rule)
}

func stallDisk(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("an fsync of %s takes 10 s", n.ID())
	n.excused("stalled disk")
	rule := &faultfs.Rule{Op: faultfs.Fsync, Glob: "*", Times: 1, Delay: 10 * time.Second}
	n.files.Set(rule)
	x.hold(11*time.Second, 13*time.Second)
	return x.relieve(n, rule)
}
