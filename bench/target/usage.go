package target

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what processes have used up to a moment.
type Usage struct {
	CPU       time.Duration // of the nodes
	OwnCPU    time.Duration // of this process: the load
	RSS       int64         // of the nodes, at the moment
	DiskBytes int64         // written to the device below the data, by anyone
	Stored    int64         // allocated in the nodes' directories, at the moment
	Stolen    time.Duration // of the processors, by the host of a virtual machine
}

// userHZ is the unit of /proc/PID/stat on every Linux port that Go runs on.
const userHZ = 100

// Usage reads the counters of the nodes' processes. What cannot be read (a node
// that is down, a machine that is not Linux) counts as nothing.
func (t *Target) Usage() Usage {
	var u Usage
	for _, pid := range t.PIDs() {
		cpu, rss := process(pid)
		u.CPU += cpu
		u.RSS += rss
	}
	var self syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self) == nil {
		u.OwnCPU = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	}
	if b, err := os.ReadFile("/proc/stat"); err == nil {
		u.Stolen = parseStolen(b)
	}
	if t.Dir != "" {
		u.DiskBytes = deviceWritten(t.Dir)
		u.Stored = allocated(t.Dir)
	}
	return u
}

// Sub is what was used since an earlier moment; RSS stays that of u, Stored
// becomes the growth.
func (u Usage) Sub(earlier Usage) Usage {
	u.CPU -= earlier.CPU
	u.OwnCPU -= earlier.OwnCPU
	u.DiskBytes -= earlier.DiskBytes
	u.Stored -= earlier.Stored
	u.Stolen -= earlier.Stolen
	return u
}

// allocated is how much the files below a directory take on the device. Files
// come and go meanwhile.
func allocated(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what is gone takes nothing
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}

func process(pid int) (cpu time.Duration, rss int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	return parseStat(b)
}

// parseStat reads fields 14, 15 (ticks) and 24 (pages) of /proc/PID/stat,
// counted behind the name, which may hold spaces and parentheses.
func parseStat(b []byte) (cpu time.Duration, rss int64) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, 0
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < 22 {
		return 0, 0
	}
	for _, k := range []int{11, 12} {
		n, err := strconv.ParseInt(string(f[k]), 10, 64)
		if err != nil {
			return 0, 0
		}
		cpu += time.Duration(n) * time.Second / userHZ
	}
	pages, err := strconv.ParseInt(string(f[21]), 10, 64)
	if err != nil {
		return cpu, 0
	}
	return cpu, pages * int64(os.Getpagesize())
}

// parseStolen reads the eighth number of the first line of /proc/stat: ticks in
// which a processor had work and the host ran something else on it.
func parseStolen(b []byte) time.Duration {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 9 || string(f[0]) != "cpu" {
		return 0
	}
	n, err := strconv.ParseInt(string(f[8]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second / userHZ
}

const sectorBytes = 512 // of /proc/diskstats, whatever the device has

// deviceWritten is the number of bytes written to the device that holds dir.
// It counts what reaches the disk; the counter of a process counts a whole large
// folio for a small write, several times what is written.
func deviceWritten(dir string) int64 {
	info, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	dev := uint64(st.Dev) //nolint:unconvert // its type differs between systems
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	f, err := os.Open("/proc/diskstats")
	if err != nil {
		return 0
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if n, ok := parseDisk(s.Text(), major, minor); ok {
			return n
		}
	}
	return 0
}

// parseDisk reads a line of /proc/diskstats of the device asked for.
func parseDisk(line string, major, minor uint64) (written int64, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || f[0] != strconv.FormatUint(major, 10) || f[1] != strconv.FormatUint(minor, 10) {
		return 0, false
	}
	sectors, err := strconv.ParseInt(f[9], 10, 64)
	return sectors * sectorBytes, err == nil
}

// DirBytes is the size of all files below the nodes' data directories.
func (t *Target) DirBytes() int64 {
	var sum int64
	for _, n := range t.Nodes {
		if n.Data == "" {
			continue
		}
		_ = filepath.Walk(n.Data, func(_ string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				sum += info.Size()
			}
			return nil // files come and go while the nodes run
		})
	}
	return sum
}
