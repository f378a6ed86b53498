package plan

import (
	"errors"
	"fmt"
	"math"
)

// Load is what the users do and what the nodes are.
type Load struct {
	DailyUsers      float64 // people who use the service on a day
	MessagesPerUser float64 // sent by each of them a day
	MessageBytes    float64 // of text
	MembersOnline   float64 // sockets that get each message, on average
	OnlineShare     float64 // of the daily users, connected at the peak
	DevicesPerUser  float64 // sockets of one connected user
	PeakFactor      float64 // busiest second over the average second
	CommandsPerSend float64 // log commands for each message: 1 is the message alone
	Replicas        float64
	RetentionDays   float64 // history kept on the nodes
	HeartbeatSecs   float64 // between two pings of a socket

	NodeCores       float64
	NodeMemoryBytes float64
	NodeDiskBytes   float64
	UtilisationMax  float64 // of cores, memory and disk at the peak
}

// DefaultLoad is a day of a one-to-one and group chat on mid-sized nodes.
func DefaultLoad() Load {
	return Load{
		DailyUsers: 50e6, MessagesPerUser: 40, MessageBytes: 256, MembersOnline: 2, OnlineShare: 0.2,
		DevicesPerUser: 1.2, PeakFactor: 3, CommandsPerSend: 1, Replicas: 3, RetentionDays: 365, HeartbeatSecs: 30,
		NodeCores: 32, NodeMemoryBytes: 128 << 30, NodeDiskBytes: 16e12, UtilisationMax: 0.6,
	}
}

// Validate reports every fault at once, each under its flag.
func (l Load) Validate() error {
	var errs []error
	positive := func(key string, v float64) {
		if !(v > 0) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("--%s: %v is not a number above 0", key, v))
		}
	}
	positive("users", l.DailyUsers)
	positive("messages", l.MessagesPerUser)
	positive("bytes", l.MessageBytes)
	positive("fanout", l.MembersOnline)
	positive("devices", l.DevicesPerUser)
	positive("commands-per-send", l.CommandsPerSend)
	positive("retention-days", l.RetentionDays)
	positive("heartbeat", l.HeartbeatSecs)
	positive("node-cores", l.NodeCores)
	positive("node-memory", l.NodeMemoryBytes)
	positive("node-disk", l.NodeDiskBytes)
	if !(l.PeakFactor >= 1) || math.IsInf(l.PeakFactor, 0) {
		errs = append(errs, fmt.Errorf("--peak: %v is not a number from 1 on", l.PeakFactor))
	}
	if l.Replicas != math.Trunc(l.Replicas) || l.Replicas < 1 || l.Replicas > 7 {
		errs = append(errs, fmt.Errorf("--replicas: %v is not a whole number from 1 to 7", l.Replicas))
	}
	for key, v := range map[string]float64{"online": l.OnlineShare, "utilisation": l.UtilisationMax} {
		if !(v > 0 && v <= 1) {
			errs = append(errs, fmt.Errorf("--%s: %v is not above 0 and at most 1", key, v))
		}
	}
	return errors.Join(errs...)
}

// Row is the plan for one number of daily users.
type Row struct {
	DailyUsers     float64 `json:"daily_users"`
	SendsPerDay    float64 `json:"sends_per_day"`
	SendsPerSec    float64 `json:"sends_per_s_peak"`
	CommandsPerSec float64 `json:"commands_per_s_peak"`
	Deliveries     float64 `json:"deliveries_per_s_peak"`
	Connections    float64 `json:"connections_peak"`
	Heartbeats     float64 `json:"heartbeats_per_s"`
	Groups         float64 `json:"groups"`
	Clusters       float64 `json:"clusters"` // of at most 256 groups each
	StoreCores     float64 `json:"store_cores"`
	FrontCores     float64 `json:"front_cores"`
	DiskPerDay     float64 `json:"disk_bytes_per_day"` // over all replicas
	DiskBytes      float64 `json:"disk_bytes"`         // of the kept history, over all replicas
	MemoryBytes    float64 `json:"memory_bytes"`       // of sockets
	Nodes          float64 `json:"nodes"`
	Bound          string  `json:"bound"` // what asks for the most nodes
}

const (
	secondsPerDay      = 86_400
	groupsPerCluster   = 256
	groupsMin          = 8
	groupHeadroomShare = 0.5 // of a group's measured maximum that is planned for
)

// Compute gives the plan of one load.
func Compute(l Load, f Figures) (Row, error) {
	if err := errors.Join(l.Validate(), f.validate()); err != nil {
		return Row{}, err
	}
	r := Row{DailyUsers: l.DailyUsers}
	r.SendsPerDay = l.DailyUsers * l.MessagesPerUser
	r.SendsPerSec = r.SendsPerDay / secondsPerDay * l.PeakFactor
	r.CommandsPerSec = r.SendsPerSec * l.CommandsPerSend
	r.Deliveries = r.SendsPerSec * l.MembersOnline
	r.Connections = l.DailyUsers * l.OnlineShare * l.DevicesPerUser
	r.Heartbeats = r.Connections / l.HeartbeatSecs
	r.Groups = max(groupsMin, math.Ceil(r.CommandsPerSec/(f.GroupAppendsMax*groupHeadroomShare)))

	cpu := f.AppendCPUMicros * l.Replicas / 3 // the figure is of three replicas
	r.StoreCores = math.Ceil(r.CommandsPerSec * cpu / 1e6)
	r.FrontCores = math.Ceil((r.Deliveries*f.DeliveryCPUMicros + r.Heartbeats*f.HeartbeatMicros) / 1e6)
	r.DiskPerDay = r.SendsPerDay * (l.MessageBytes + f.EntryDiskBytes) * l.Replicas
	r.DiskBytes = r.DiskPerDay * l.RetentionDays
	r.MemoryBytes = r.Connections * f.ConnectionBytes

	usable := func(v float64) float64 { return v * l.UtilisationMax }
	r.Nodes, r.Bound = l.Replicas, "replicas"
	for _, by := range []struct {
		name  string
		nodes float64
	}{
		{"cpu", (r.StoreCores + r.FrontCores) / usable(l.NodeCores)},
		{"disk", r.DiskBytes / usable(l.NodeDiskBytes)},
		{"memory", r.MemoryBytes / (usable(l.NodeMemoryBytes) - f.NodeBaseBytes)},
	} {
		if n := math.Ceil(by.nodes); n > r.Nodes || n < 0 {
			if n < 0 {
				return Row{}, fmt.Errorf("--node-memory: %v is below what an idle node takes", l.NodeMemoryBytes)
			}
			r.Nodes, r.Bound = n, by.name
		}
	}
	// A group does not spread over more nodes than it has replicas, so every
	// node needs its share of groups.
	r.Groups = max(r.Groups, math.Ceil(r.Nodes/l.Replicas))
	r.Clusters = math.Ceil(r.Groups / groupsPerCluster)
	return r, nil
}

// Formulas states the model, a line each.
func Formulas() []string {
	return []string{
		"sends/day     = users × messages",
		"sends/s       = sends/day ÷ 86,400 × peak",
		"commands/s    = sends/s × commands-per-send",
		"deliveries/s  = sends/s × fanout",
		"connections   = users × online × devices",
		"heartbeats/s  = connections ÷ heartbeat",
		"store cores   = commands/s × append_cpu_us × replicas ÷ 3 ÷ 1e6",
		"front cores   = (deliveries/s × delivery_cpu_us + heartbeats/s × heartbeat_cpu_us) ÷ 1e6",
		"disk/day      = sends/day × (bytes + entry_disk_bytes) × replicas",
		"disk          = disk/day × retention-days",
		"memory        = connections × connection_bytes",
		"nodes         = max(replicas, cores ÷ (node-cores × u), disk ÷ (node-disk × u), memory ÷ (node-memory × u − node_base_bytes)), u = utilisation",
		"groups        = max(8, commands/s ÷ (group_appends_per_s_max ÷ 2), nodes ÷ replicas)",
		"clusters      = groups ÷ 256",
	}
}
