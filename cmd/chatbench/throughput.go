package main

import (
	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/bench"
)

func (a *app) throughputCommand() *cobra.Command {
	w := bench.DefaultThroughput()
	cmd := &cobra.Command{
		Use:   "throughput",
		Short: "Closed loop: acknowledged appends per second at given numbers outstanding",
		Long: `throughput keeps a number of operations outstanding and starts the next with every answer. Each
number gives one result: rate, latency, processor time of the nodes and of the load, bytes written
to the disk. With --reads 0.5 half of the operations read the newest page.`,
		Args: cobra.NoArgs,
	}
	c := commonFlags(cmd)
	fs := cmd.Flags()
	payload := size(w.Bytes)
	fs.IntSliceVar(&w.Outstanding, "outstanding", w.Outstanding, "operations kept outstanding, one point each")
	fs.IntVar(&w.Connections, "connections", w.Connections, "connections (default: two per node, more where one conversation needs them)")
	fs.IntVar(&w.Conversations, "conversations", w.Conversations, "conversations written to")
	fs.Float64Var(&w.Zipf, "zipf", w.Zipf, "choose conversations by Zipf's law with this exponent, above 1 (0: evenly)")
	fs.Var(&payload, "payload", "bytes of a message, such as 256 or 8KB")
	fs.Float64Var(&w.Reads, "reads", w.Reads, "share of operations that read a page of history, the newest one")
	fs.BoolVar(&w.Anywhere, "anywhere", w.Anywhere, "pages begin at places drawn evenly from what was preloaded")
	fs.IntVar(&w.PageLimit, "page", w.PageLimit, "entries of a page")
	fs.IntVar(&w.Preload, "preload", w.Preload, "messages in each conversation before pages are read")
	fs.DurationVar(&w.Warmup, "warmup", w.Warmup, "time before the window")
	fs.DurationVar(&w.Duration, "duration", w.Duration, "window of each point")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w.Bytes = int(payload)
		if err := w.Validate(); err != nil {
			return err
		}
		return c.with(cmd.Context(), a, w.Run)
	}
	return cmd
}
