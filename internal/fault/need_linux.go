package fault

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Means is something that a fault needs of the machine.
type Means struct {
	Root     bool
	Devices  []string // paths that must exist
	Programs []string // found by PATH
}

// The means of each kind of fault.
var (
	Network = Means{Root: true, Programs: []string{"ip", "nft"}}
	Delays  = Means{Root: true, Programs: []string{"ip", "nft", "iptables"}}
	Disks   = Means{Root: true, Devices: []string{"/dev/loop-control"}, Programs: []string{"mkfs.ext4", "mount"}}
	Files   = Means{Root: true, Devices: []string{"/dev/fuse"}}
	Clocks  = Means{Root: true}
)

// Need reports what is missing; "" means that nothing is.
func Need(m Means) string {
	var missing []string
	if m.Root && os.Getuid() != 0 {
		missing = append(missing, "root")
	}
	for _, d := range m.Devices {
		if _, err := os.Stat(d); err != nil {
			missing = append(missing, d)
		}
	}
	for _, p := range m.Programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, fmt.Sprintf("the program %s", p))
		}
	}
	return strings.Join(missing, ", ")
}
