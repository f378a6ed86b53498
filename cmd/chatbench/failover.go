package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/bench"
)

func (a *app) failoverCommand() *cobra.Command {
	w := bench.DefaultFailover()
	cmd := &cobra.Command{
		Use:   "failover",
		Short: "Break a leader again and again: how long are appends not acknowledged?",
		Long: `failover appends to probe conversations at a fixed interval and injects one fault per repetition:
  kill      ` + bench.FailoverFaults["kill"] + `
  pause     ` + bench.FailoverFaults["pause"] + `
  stop      ` + bench.FailoverFaults["stop"] + `
  partition ` + bench.FailoverFaults["partition"] + `
  one-way   ` + bench.FailoverFaults["one-way"] + `
  replace   ` + bench.FailoverFaults["replace"] + `
  transfer  ` + bench.FailoverFaults["transfer"] + `
  rolling   ` + bench.FailoverFaults["rolling"] + `
The gap of a conversation is the longest time from the fault, or a later send, to the acknowledgement.
Conversations whose groups did not notice are left out of the gaps. Give several faults separated by commas.`,
		Args: cobra.NoArgs,
	}
	c := commonFlags(cmd)
	fs := cmd.Flags()
	faults := fs.String("fault", w.Fault, "the faults, one result each")
	fs.IntVar(&w.Repetitions, "repetitions", w.Repetitions, "how often each")
	fs.IntVar(&w.Conversations, "conversations", w.Conversations, "probe conversations, spread over the groups")
	fs.DurationVar(&w.Interval, "interval", w.Interval, "time between two messages of a conversation")
	fs.DurationVar(&w.Calm, "calm", w.Calm, "least time between recovery and the next fault")
	fs.DurationVar(&w.Pause, "pause", w.Pause, "length of a pause, a partition and a storm")
	fs.DurationVar(&w.Recovery, "recovery", w.Recovery, "longest wait for recovery")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var all []bench.Failover
		for fault := range strings.SplitSeq(*faults, ",") {
			one := w
			one.Fault = strings.TrimSpace(fault)
			if err := one.Validate(); err != nil {
				return err
			}
			if c.spawn == 0 && len(c.addresses) > 0 && !one.Harmless() {
				return bench.ErrNotSpawned
			}
			all = append(all, one)
			c.network = c.network || one.CutsNetwork()
		}
		return c.with(cmd.Context(), a, inTurn(all))
	}
	return cmd
}
