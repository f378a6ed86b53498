//go:build chaoscontrol

package sabotage

import "os"

// Built says whether this binary can be sabotaged.
const Built = true

var chosen = os.Getenv("CHATNODE_SABOTAGE")

// NoFsync makes the log answer before its bytes are on disk.
func NoFsync() bool { return chosen == "nofsync" }

// NoDedup makes the conversation machine append a retried message again.
func NoDedup() bool { return chosen == "nodedup" }

// StaleRead makes a default read skip the quorum round.
func StaleRead() bool { return chosen == "staleread" }

// NoAccess shows the whole of a conversation to whoever was a member once.
func NoAccess() bool { return chosen == "noaccess" }
