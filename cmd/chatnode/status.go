package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/node"
)

// exit codes of status.
var healthExit = map[node.Health]int{node.Healthy: 0, node.Degraded: 1, node.Down: 2}

func (a *app) statusCommand() *cobra.Command {
	cmd, asJSON := a.reportCommand("status", "Say how the cluster is", `status asks one node, which asks all others. It ends with 0 when everything has a leader and all
its replicas, with 1 when there are fewer replicas than wanted or a disk is full, and with 2
when a group has no leader or there is no answer, also for a wrong address, secret or token.`)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := a.report(cmd)
		if err != nil {
			// Whatever the reason: nobody has said how the cluster is, and 1 would say
			// that it serves.
			fmt.Fprintln(a.stderr, "chatnode:", err)
			return exitError(healthExit[node.Down])
		}
		if *asJSON {
			err = writeJSON(a.stdout, r)
		} else {
			err = writeStatus(a.stdout, r)
		}
		if err == nil && r.Health != node.Healthy {
			return exitError(healthExit[r.Health])
		}
		return err
	}
	return cmd
}

func (a *app) membersCommand() *cobra.Command {
	cmd, asJSON := a.reportCommand("members", "List the nodes", "")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := a.report(cmd)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(a.stdout, r.Nodes)
		}
		return writeMembers(a.stdout, r)
	}
	return cmd
}

func (a *app) groupsCommand() *cobra.Command {
	cmd, asJSON := a.reportCommand("groups", "List the Raft groups and their replicas", "")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := a.report(cmd)
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(a.stdout, r.Groups)
		}
		return writeGroups(a.stdout, r)
	}
	return cmd
}

func (a *app) reportCommand(use, short, long string) (cmd *cobra.Command, asJSON *bool) {
	cmd = &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs}
	asJSON = cmd.Flags().Bool("json", false, "print JSON")
	a.callerFlags(cmd.Flags())
	return cmd, asJSON
}

func (a *app) report(cmd *cobra.Command) (node.ClusterReport, error) {
	var r node.ClusterReport
	c, err := a.caller(cmd)
	if err != nil {
		return r, err
	}
	return r, c.get(cmd.Context(), "/v1/admin/status", &r)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table writes rows of cells in aligned columns.
func table(w io.Writer, rows ...[]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

func writeStatus(w io.Writer, r node.ClusterReport) error {
	leaders, reached := 0, 0
	for _, g := range r.Groups {
		if g.Leader != "" {
			leaders++
		}
	}
	for _, n := range r.Nodes {
		if n.Reachable {
			reached++
		}
	}
	fmt.Fprintf(w, "cluster %s is %s: %d of %d nodes answer, %d of %d groups have a leader (map epoch %d, asked %s)\n",
		r.Cluster, r.Health, reached, len(r.Nodes), leaders, len(r.Groups), r.Epoch, r.From)
	for _, reason := range r.Reasons {
		fmt.Fprintln(w, "  "+reason)
	}
	fmt.Fprintln(w)
	if err := writeMembers(w, r); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return writeGroups(w, r)
}

func writeMembers(w io.Writer, r node.ClusterReport) error {
	rows := [][]string{{"NODE", "STATE", "CLIENT", "PEER", "ZONE", "REPLICAS", "LEADS", "UP", "FREE", "VERSION"}}
	for _, n := range r.Nodes {
		state, up, free := n.State, (time.Duration(n.UptimeMS) * time.Millisecond).Round(time.Second).String(), bytesText(n.FreeBytes)
		if !n.Reachable {
			state, up, free = "unreachable", "-", "-"
		}
		rows = append(rows, []string{
			string(n.Node), state, n.Client, n.Peer, dash(n.Zone),
			fmt.Sprint(n.Replicas), fmt.Sprint(n.Leads), up, free, dash(n.Version),
		})
	}
	return table(w, rows...)
}

func writeGroups(w io.Writer, r node.ClusterReport) error {
	rows := [][]string{{"GROUP", "SLOTS", "LEADER", "TERM", "LAST", "APPLIED", "SIZE", "REPLICAS (applied, lag)"}}
	for _, g := range r.Groups {
		name := fmt.Sprint(g.Group)
		if g.Group == 0 {
			name = "0 meta"
		}
		replicas := make([]string, len(g.Replicas))
		for i, p := range g.Replicas {
			replicas[i] = replicaText(p, g.Leader != "")
		}
		rows = append(rows, []string{
			name, fmt.Sprint(g.Slots), dash(string(g.Leader)), fmt.Sprint(g.Term), fmt.Sprint(g.Last),
			fmt.Sprint(g.Applied), bytesText(g.Bytes), strings.Join(replicas, "  "),
		})
	}
	return table(w, rows...)
}

// replicaText is one replica in short. Who votes is the word of the group's leader.
func replicaText(p node.ReplicaReport, led bool) string {
	switch {
	case p.Role == "unreachable":
		return string(p.Node) + " (unreachable)"
	case !led:
		return fmt.Sprintf("%s (%d, %d, vote unknown)", p.Node, p.Applied, p.Lag)
	case !p.Voter:
		return fmt.Sprintf("%s (%d, %d, catching up)", p.Node, p.Applied, p.Lag)
	}
	return fmt.Sprintf("%s (%d, %d)", p.Node, p.Applied, p.Lag)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exp := float64(n)/unit, 0
	for value >= unit && exp < len("KMGTP")-1 {
		value /= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[exp])
}
