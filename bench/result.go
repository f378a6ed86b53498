package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Result is one measured point, one line of a result file.
type Result struct {
	Workload string         `json:"workload"`
	System   string         `json:"system"` // chatnode, or a peer that it is compared with
	Label    string         `json:"label"`  // tells apart the points of one run
	Time     time.Time      `json:"time"`
	Seed     uint64         `json:"seed"`
	Config   map[string]any `json:"config"`
	Machine  Machine        `json:"machine"`
	Versions Versions       `json:"versions"`

	Seconds   float64            `json:"seconds"` // measured window
	Count     int64              `json:"count"`   // answers in it
	Rate      float64            `json:"rate"`    // per second
	Errors    map[string]int64   `json:"errors,omitempty"`
	Latency   map[string]Latency `json:"latency,omitempty"` // by name: ack, read, end_to_end, gap
	Resources Resources          `json:"resources"`
	Values    map[string]float64 `json:"values,omitempty"` // of this workload alone, with units in the names
	Series    []Sample           `json:"series,omitempty"` // over time
	Marks     []Mark             `json:"marks,omitempty"`  // faults and the like on the same time
}

// Machine says where it was measured.
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	RAM    int64  `json:"ram_bytes"`
}

// Versions says what was measured.
type Versions struct {
	Load   string `json:"load"`
	System string `json:"system"`
	Go     string `json:"go"`
}

// Resources is what the nodes and the load used in the window.
type Resources struct {
	NodeCPUSeconds   float64 `json:"node_cpu_seconds"` // of all nodes together
	LoadCPUSeconds   float64 `json:"load_cpu_seconds"`
	NodeCPUPerOpUS   float64 `json:"node_cpu_us_per_op"`
	LoadCPUPerOpUS   float64 `json:"load_cpu_us_per_op"`
	DiskBytes        int64   `json:"disk_bytes"` // written to the device, by anyone
	DiskBytesPerOp   float64 `json:"disk_bytes_per_op"`
	NodeRSSBytes     int64   `json:"node_rss_bytes"` // of all nodes together, at the end
	StoredBytesPerOp float64 `json:"stored_bytes_per_op,omitempty"`
	StolenShare      float64 `json:"stolen_share"` // of all processors, taken by the host of a virtual machine
}

// Sample is one step of a series.
type Sample struct {
	At    float64 `json:"t"` // seconds from the start to the end of the step
	Rate  float64 `json:"rate"`
	P99MS float64 `json:"p99_ms"`
}

// Mark is something that happened.
type Mark struct {
	At   float64 `json:"t"`
	Text string  `json:"text"`
}

// ThisMachine reads what the kernel says of the machine.
func ThisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = field(string(b), "model name")
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if _, err := fmt.Sscanf(field(string(b), "MemTotal"), "%d kB", &kb); err == nil {
			m.RAM = kb << 10
		}
	}
	return m
}

// field gives the value of the first "name : value" line.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// LoadVersion is the version of this program as it was built.
func LoadVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+"
			}
		}
	}
	if revision == "" {
		return info.Main.Version
	}
	return revision + dirty
}

// Sink takes results as they come.
type Sink interface {
	Add(Result) error
}

// Lines writes results as JSON lines.
type Lines struct {
	mu sync.Mutex
	w  io.Writer
}

// NewLines writes to w.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

// Add writes one line.
func (l *Lines) Add(r Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	return nil
}

// resultBytesMax bounds one line that is read back.
const resultBytesMax = 16 << 20

// ReadResults reads the lines of a result file; empty lines are passed over.
func ReadResults(r io.Reader) ([]Result, error) {
	b, err := io.ReadAll(io.LimitReader(r, 16*resultBytesMax))
	if err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	var all []Result
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		var one Result
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			return nil, fmt.Errorf("results: line %d: %w", n, err)
		}
		if one.Workload == "" {
			return nil, fmt.Errorf("results: line %d: no result of a workload", n)
		}
		all = append(all, one)
	}
	return all, nil
}
