package chaos

import (
	"errors"
	"time"

	"github.com/chatnode/chatnode/internal/fault/netlab"
)

// healed holds the fault and takes every network fault back.
func (x *env) healed(lo, hi time.Duration, err error) error {
	if err == nil {
		x.hold(lo, hi)
	}
	x.note("%s: the network is whole", x.name)
	return errors.Join(err, x.c.lab.Heal())
}

func isolate(x *env) error       { return isolateOne(x, x.any()) }
func isolateLeader(x *env) error { return isolateOne(x, x.leader()) }

func isolateOne(x *env, n *node) error {
	if n == nil {
		return errIdle
	}
	rest := x.c.lab.Hosts()
	if x.rnd.IntN(2) == 0 { // the clients reach it still
		rest = without(rest, x.c.outside)
	}
	x.note("isolate %s", n.ID())
	return x.healed(2*time.Second, 10*time.Second, x.c.lab.Isolate(n.host, rest...))
}

func without(hosts []*netlab.Host, h *netlab.Host) []*netlab.Host {
	var res []*netlab.Host
	for _, o := range hosts {
		if o != h {
			res = append(res, o)
		}
	}
	return res
}

func split(x *env) error {
	x.note("split all nodes from each other")
	var errs []error
	for i, a := range x.c.nodes {
		for _, b := range x.c.nodes[i+1:] {
			errs = append(errs, x.c.lab.Cut(a.host, b.host))
		}
	}
	return x.healed(time.Second, 6*time.Second, errors.Join(errs...))
}

func bridge(x *env) error {
	a, b := x.any(), x.any()
	if a == nil || b == nil {
		return errIdle
	}
	x.note("%s and %s do not reach each other", a.ID(), b.ID())
	return x.healed(3*time.Second, 12*time.Second, x.c.lab.Cut(a.host, b.host))
}

func oneWay(x *env) error {
	a, b := x.leader(), x.any()
	if a == nil || b == nil {
		return errIdle
	}
	if x.rnd.IntN(2) == 0 {
		a, b = b, a
	}
	x.note("%s is deaf to %s", a.ID(), b.ID())
	return x.healed(3*time.Second, 12*time.Second, x.c.lab.CutOneWay(a.host, b.host))
}

func loss(x *env) error {
	percent := 2 + x.rnd.IntN(25)
	x.note("%d %% of the packets are lost", percent)
	var errs []error
	for _, n := range x.c.nodes {
		errs = append(errs, n.host.Loss(percent))
	}
	return x.healed(3*time.Second, 10*time.Second, errors.Join(errs...))
}

func rate(x *env) error {
	n := x.any()
	if n == nil {
		return errIdle
	}
	x.note("%s sends at 256 kbit/s", n.ID())
	return x.healed(3*time.Second, 8*time.Second, n.host.Rate(256))
}

func delay(x *env) error {
	base := time.Duration(5+x.rnd.IntN(60)) * time.Millisecond
	x.note("packets take %v to %v", base, 2*base)
	var errs []error
	for _, n := range x.c.nodes {
		errs = append(errs, n.host.Delay(base, base, float64(x.rnd.IntN(5))/100, x.rnd.Uint64()))
	}
	return x.healed(3*time.Second, 10*time.Second, errors.Join(errs...))
}
