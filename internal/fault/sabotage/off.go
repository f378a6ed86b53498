//go:build !chaoscontrol

package sabotage

// Built says whether this binary can be sabotaged.
const Built = false

// NoFsync makes the log answer before its bytes are on disk.
func NoFsync() bool { return false }

// NoDedup makes the conversation machine append a retried message again.
func NoDedup() bool { return false }

// StaleRead makes a default read skip the quorum round.
func StaleRead() bool { return false }

// NoAccess shows the whole of a conversation to whoever was a member once.
func NoAccess() bool { return false }
