package netlab

import (
	"errors"
	"fmt"
)

// CutOneWay makes deaf drop everything that from sends; the other way stays.
func (l *Lab) CutOneWay(deaf, from *Host) error {
	return deaf.nft(fmt.Sprintf("add element inet fault cut { %s }\n", from.Addr))
}

// Cut parts two hosts.
func (l *Lab) Cut(a, b *Host) error {
	return errors.Join(l.CutOneWay(a, b), l.CutOneWay(b, a))
}

// Isolate parts a host from every other one of the given.
func (l *Lab) Isolate(a *Host, others ...*Host) error {
	var errs []error
	for _, b := range others {
		if a != b {
			errs = append(errs, l.Cut(a, b))
		}
	}
	return errors.Join(errs...)
}

// Loss drops a share of the packets that arrive at the host, in percent.
func (h *Host) Loss(percent int) error {
	if percent >= 100 {
		return h.nft("add rule inet fault in counter drop\n")
	}
	return h.nft(fmt.Sprintf("add rule inet fault in numgen random mod 100 < %d counter drop\n", percent))
}

// Rate limits what the host sends.
func (h *Host) Rate(kbit int) error {
	return h.run("tc", "qdisc", "replace", "dev", "e0", "root", "tbf", "rate", fmt.Sprintf("%dkbit", kbit), "burst", "16kb", "latency", "400ms")
}

// Heal takes back every fault on every host.
func (l *Lab) Heal() error {
	var errs []error
	for _, h := range l.hosts {
		h.stopDelay()
		errs = append(errs, h.nft(plainChain))
		_ = h.run("tc", "qdisc", "del", "dev", "e0", "root") // an error says that there was none
	}
	return errors.Join(errs...)
}
