package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/node"
)

func (a *app) checkCommand() *cobra.Command {
	var asJSON bool
	var storage string
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Verify the data directory of a stopped node",
		Long: `check reads every log record, every stored row and every Merkle root of a data directory whose node
does not run, and prints a hash of each group's content: replicas that have applied the same
entries have the same hash. It compares logs, state and promises as a start does, and says what a
start would refuse. It ends with 1 when something is damaged.
It changes no content, but opens the files as a node does, which writes to their headers: the
directory must be writable, and of a copy that is kept as evidence check another copy.
Logs kept by bolt are not read, and it says so: of such a directory the state is verified, and that
no log is missing.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := node.Check(cmd.Context(), args[0], storage)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(a.stdout, report)
			} else {
				err = a.writeCheck(report)
			}
			if err == nil && !report.Sound {
				return exitError(exitFailure)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&storage, "storage-log", "", "how the logs are kept (default: what is found)")
	return cmd
}

func (a *app) writeCheck(r node.CheckReport) error {
	fmt.Fprintf(a.stdout, "node %s of cluster %s\n\n", r.Node, r.Cluster)
	rows := [][]string{{"GROUP", "LOG", "APPLIED", "TERM", "CONVERSATIONS", "ENTRIES", "CONTENT HASH", "STATE"}}
	for _, g := range r.Groups {
		state := "sound"
		if g.Fault != "" {
			state = g.Fault
		}
		log := fmt.Sprintf("%d-%d", g.First, g.Last)
		if r.LogsUnread {
			log = dash("")
		}
		rows = append(rows, []string{
			fmt.Sprint(g.Group), log, fmt.Sprint(g.Applied), fmt.Sprint(g.Term),
			fmt.Sprint(g.Conversations), fmt.Sprint(g.Entries), dash(g.Hash), state,
		})
	}
	if err := table(a.stdout, rows...); err != nil {
		return err
	}
	if r.LogsUnread {
		fmt.Fprintln(a.stdout, "\nThe logs are kept by bolt and were not read: this is about the state alone.")
	}
	if r.Fault != "" {
		fmt.Fprintln(a.stdout, "\n"+r.Fault)
	}
	if !r.Sound {
		fmt.Fprintln(a.stdout, "\nThis directory is damaged: give the node a new id and an empty directory, and let it join again.")
	}
	return nil
}
