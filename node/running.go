package node

import "github.com/chatnode/chatnode/shard"

// The names of files that the node itself keeps in its data directory.
const (
	RunFile         = "run.json"    // where the running node is reached; gone when it stops
	DevSecretFile   = "auth.secret" // made by dev
	incarnationFile = "incarnation" // tells a retried join from a wiped disk
)

// Running is the content of [RunFile].
type Running struct {
	PID    int          `json:"pid"`
	Node   shard.NodeID `json:"node"`
	URL    string       `json:"url"` // of the client port
	Client string       `json:"client"`
	Peer   string       `json:"peer"`
	Debug  string       `json:"debug"`
}

// TransferRequest asks for another leader of a group.
type TransferRequest struct {
	Group shard.GroupID `json:"group"`
	To    shard.NodeID  `json:"to"`
}

// RemoveRequest asks for the end of a node's membership.
type RemoveRequest struct {
	Node shard.NodeID `json:"node"`
}
