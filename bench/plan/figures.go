package plan

import (
	"bytes"
	_ "embed" // the figures of the machine that the project was measured on
	"encoding/json"
	"errors"
	"fmt"
)

//go:embed figures.json
var measured []byte

// Figures are what was measured on one machine. CPU is of one core.
type Figures struct {
	Machine string `json:"machine"` // what was measured on, for the reader
	Command string `json:"command"` // that shows the figures

	AppendCPUMicros   float64 `json:"append_cpu_us"`           // one append on all its replicas, its front-end included
	DeliveryCPUMicros float64 `json:"delivery_cpu_us"`         // one entry pushed to one socket
	HeartbeatMicros   float64 `json:"heartbeat_cpu_us"`        // one ping and its pong
	GroupAppendsMax   float64 `json:"group_appends_per_s_max"` // of one Raft group whose disks and cores are its own
	EntryDiskBytes    float64 `json:"entry_disk_bytes"`        // one message in the history of one replica, without its text
	ConnectionBytes   float64 `json:"connection_bytes"`        // memory of one idle socket
	NodeBaseBytes     float64 `json:"node_base_bytes"`         // memory of an idle node
}

// Measured are the figures of the project's own machine.
func Measured() (Figures, error) { return ParseFigures(measured) }

// ParseFigures reads a figures file and refuses one with a missing or unknown
// field.
func ParseFigures(b []byte) (Figures, error) {
	var f Figures
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("figures: %w", err)
	}
	return f, f.validate()
}

func (f Figures) validate() error {
	var errs []error
	for _, v := range []struct {
		key string
		val float64
	}{
		{"append_cpu_us", f.AppendCPUMicros},
		{"delivery_cpu_us", f.DeliveryCPUMicros},
		{"heartbeat_cpu_us", f.HeartbeatMicros},
		{"group_appends_per_s_max", f.GroupAppendsMax},
		{"entry_disk_bytes", f.EntryDiskBytes},
		{"connection_bytes", f.ConnectionBytes},
		{"node_base_bytes", f.NodeBaseBytes},
	} {
		if !(v.val > 0) {
			errs = append(errs, fmt.Errorf("figures: %s: %v is not above 0", v.key, v.val))
		}
	}
	return errors.Join(errs...)
}
