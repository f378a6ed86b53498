package chaos

// needs says what a fault wants of the machine and of the run.
type needs struct {
	network bool // hosts of their own
	delays  bool // and a packet queue
	disks   bool // an ext4 disk for each node
	files   bool // a failing file system for each node
	clock   bool
	whole   bool // all other nodes keep their data: two that lose theirs are a lost majority
}

// Fault is one kind of trouble.
type Fault struct {
	Name  string
	About string
	needs needs
	do    func(*env) error
}

// Names lists all faults, in the order of the table.
func Names() []string {
	var res []string
	for _, f := range Faults() {
		res = append(res, f.Name)
	}
	return res
}

func find(name string) (Fault, bool) {
	for _, f := range Faults() {
		if f.Name == name {
			return f, true
		}
	}
	return Fault{}, false
}

// Faults is the table of all kinds of trouble.
func Faults() []Fault {
	network, delays, disks, files := needs{network: true}, needs{network: true, delays: true}, needs{disks: true}, needs{files: true}
	whole := needs{whole: true}
	return []Fault{
		{"kill", "SIGKILL of one node, back after up to 3 s", needs{}, kill},
		{"kill-leader", "SIGKILL of a group's leader", needs{}, killLeader},
		{"kill-two", "SIGKILL of two nodes at once: no majority", needs{}, killTwo},
		{"kill-all", "SIGKILL of all nodes at once", needs{}, killAll},
		{"restart", "orderly stop and start of one node", needs{}, restart},
		{"pause", "SIGSTOP of one node for 1 to 6 s", needs{}, pause},
		{"pause-leader", "SIGSTOP of a group's leader", needs{}, pauseLeader},
		{"transfer", "leaderships are moved about", needs{}, transfer},
		{"membership", "a fourth node joins under load and is removed again", needs{}, membership},
		{"wipe", "a node loses its directory, must not come back as itself, is replaced", whole, wipe},
		{"corrupt", "bits flip in the files of a stopped node", whole, corrupt},
		{"rollback", "a node's log is an old copy of itself", whole, rollback},
		{"clock", "one node's wall clock jumps by an hour", needs{clock: true}, jump},
		{"isolate", "one node hears and reaches no other node and no client", network, isolate},
		{"isolate-leader", "the same with a group's leader", network, isolateLeader},
		{"split", "the nodes cannot reach each other, clients reach all", network, split},
		{"bridge", "two nodes reach each other only through the third", network, bridge},
		{"one-way", "one node does not hear another", network, oneWay},
		{"loss", "a share of the packets is lost on every host", network, loss},
		{"rate", "one node sends at 256 kbit/s", network, rate},
		{"delay", "packets are late and out of order", delays, delay},
		{"power", "power cut of one node", disks, power},
		{"power-all", "power cut of all nodes at once", disks, powerAll},
		{"full", "one node's disk is full", disks, full},
		{"fsync", "one fsync of one node fails", files, fsyncFails},
		{"torn", "one write of one node is torn", files, tornWrite},
		{"enospc", "writes of one node find no space", files, noSpace},
		{"slow-disk", "fsyncs of one node take 50 to 500 ms", files, slowDisk},
		{"stall-disk", "one fsync takes 10 s", files, stallDisk},
	}
}
