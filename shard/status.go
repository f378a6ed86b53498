package shard

// GroupStatus is what a node tells of its replica of a group.
type GroupStatus struct {
	Group     GroupID  `json:"group"`
	Leader    NodeID   `json:"leader,omitempty"`   // as this replica knows
	Leads     bool     `json:"leads,omitempty"`    // this replica leads, is ready, and its configuration is committed
	Changing  bool     `json:"changing,omitempty"` // it leads and is ready; its configuration is not committed yet
	Term      uint64   `json:"term"`
	State     string   `json:"state"` // leader, follower, candidate, …
	First     uint64   `json:"first"` // log entries that are kept
	Last      uint64   `json:"last"`
	Commit    uint64   `json:"commit"`
	Applied   uint64   `json:"applied"`
	Voters    []NodeID `json:"voters,omitempty"`    // by this replica's configuration
	Nonvoters []NodeID `json:"nonvoters,omitempty"` // by this replica's configuration
	Bytes     int64    `json:"bytes,omitempty"`     // of its state on disk, about
}

// NodeStatus is what a node tells of itself.
type NodeStatus struct {
	Node   NodeID        `json:"node"`
	Epoch  uint64        `json:"epoch"` // of its map
	Level  uint32        `json:"level"` // the highest that its binary reads
	Groups []GroupStatus `json:"groups"`

	Stopping bool `json:"stopping,omitempty"` // it hands its leaderships over and wants no other

	// For people; nothing decides by them.
	Version   string `json:"version,omitempty"`
	UptimeMS  int64  `json:"uptime_ms,omitempty"`
	Ready     bool   `json:"ready,omitempty"`
	FreeBytes int64  `json:"free_bytes,omitempty"` // of the data directory's file system
	DiskFull  bool   `json:"disk_full,omitempty"`  // that is below the reserve: appends are refused
	LogBytes  int64  `json:"log_bytes,omitempty"`  // of the Raft logs of all groups
}

// Op is a change of a group's membership or leadership.
type Op string

// The changes. Each is repeated without harm.
const (
	AddNonvoter Op = "add_nonvoter"
	Promote     Op = "promote" // a non-voter becomes a voter
	Remove      Op = "remove"  // out of the configuration
	Transfer    Op = "transfer"
)

// Change is one such change, addressed to the group's leader.
type Change struct {
	Group GroupID `json:"group"`
	Op    Op      `json:"op"`
	Node  NodeID  `json:"node"`
	Peer  string  `json:"peer,omitempty"` // the node's peer address, to add it
}
