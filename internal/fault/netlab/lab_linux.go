package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// HostsMax bounds a lab.
const HostsMax = 16

// Lab is a bridge and its hosts.
type Lab struct {
	prefix string
	hosts  []*Host
}

// Host is one namespace with one address.
type Host struct {
	Name string
	Addr netip.Addr
	file *os.File // the namespace

	mu     sync.Mutex
	delays *delays // nil without a delay
	queue  uint16  // of the next delay
}

// New makes a lab of n hosts. The prefix names its namespaces and must be unique
// on the machine and short.
func New(prefix string, n int) (*Lab, error) {
	if n < 1 || n > HostsMax {
		return nil, fmt.Errorf("%d hosts is not within 1 and %d", n, HostsMax)
	}
	l := &Lab{prefix: prefix}
	if err := l.up(n); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// rules is the table of each host: what arrives on its one interface from a
// sender in the set is dropped.
const rules = `table inet fault {
	set cut { type ipv4_addr; }
	chain in { type filter hook input priority -300; policy accept; }
}
`

const plainChain = `flush set inet fault cut
flush chain inet fault in
add rule inet fault in iif "lo" accept
add rule inet fault in ip saddr @cut counter drop
`

func (l *Lab) up(n int) error {
	sw := l.prefix + "-sw"
	if err := ip("netns", "add", sw); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-n", sw, "link", "add", "br0", "type", "bridge"},
		{"-n", sw, "link", "set", "br0", "up"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	for i := 1; i <= n; i++ {
		h := &Host{Name: fmt.Sprintf("%s-n%d", l.prefix, i), Addr: netip.AddrFrom4([4]byte{10, 77, 0, byte(i)})}
		if err := l.addHost(h, i); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) addHost(h *Host, i int) error {
	sw, port := l.prefix+"-sw", fmt.Sprintf("p%d", i)
	if err := ip("netns", "add", h.Name); err != nil {
		return err
	}
	l.hosts = append(l.hosts, h)
	for _, args := range [][]string{
		{"link", "add", "e0", "netns", h.Name, "type", "veth", "peer", "name", port, "netns", sw},
		{"-n", sw, "link", "set", port, "master", "br0", "up"},
		{"-n", h.Name, "link", "set", "lo", "up"},
		{"-n", h.Name, "link", "set", "e0", "up"},
		{"-n", h.Name, "addr", "add", h.Addr.String() + "/24", "dev", "e0"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	f, err := os.Open("/run/netns/" + h.Name)
	if err != nil {
		return err
	}
	h.file = f
	return h.nft(rules + plainChain)
}

// Hosts gives the hosts, in order.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Close removes the lab. Processes on its hosts have to be gone before.
func (l *Lab) Close() error {
	var errs []error
	for _, h := range l.hosts {
		h.stopDelay()
		if h.file != nil {
			errs = append(errs, h.file.Close())
		}
		errs = append(errs, ip("netns", "del", h.Name))
	}
	l.hosts = nil
	return errors.Join(append(errs, ip("netns", "del", l.prefix+"-sw"))...)
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (h *Host) run(name string, args ...string) error {
	return ip(append([]string{"netns", "exec", h.Name, name}, args...)...)
}

func (h *Host) nft(script string) error {
	cmd := exec.Command("ip", "netns", "exec", h.Name, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft on %s: %w: %s", h.Name, err, bytes.TrimSpace(out))
	}
	return nil
}
