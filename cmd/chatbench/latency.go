package main

import (
	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/bench"
)

func (a *app) latencyCommand() *cobra.Command {
	w := bench.DefaultLatency()
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "Open loop: latency to the ack and to a subscriber on another node at given rates",
		Long: `latency sends at scheduled times, whatever the answers do, and counts each latency from the scheduled
time, so that a stall is seen by everything that waited behind it. Every message is also delivered
to a subscriber that is connected to another node. Rates are absolute (--rate) or shares of the
maximum (--share), which is measured first unless --max gives it.`,
		Args: cobra.NoArgs,
	}
	c := commonFlags(cmd)
	fs := cmd.Flags()
	payload := size(w.Bytes)
	fs.Float64SliceVar(&w.Rates, "rate", nil, "messages per second, one point each")
	fs.Float64SliceVar(&w.Shares, "share", w.Shares, "shares of the maximum, one point each")
	fs.Float64Var(&w.Max, "max", 0, "the maximum in messages per second (default: measured)")
	fs.IntVar(&w.Connections, "connections", 0, "connections that send, and as many that receive (default: two per node, more where few conversations need them)")
	fs.IntVar(&w.Conversations, "conversations", w.Conversations, "conversations written to")
	fs.Var(&payload, "payload", "bytes of a message")
	fs.DurationVar(&w.Warmup, "warmup", w.Warmup, "time before the window")
	fs.DurationVar(&w.Duration, "duration", w.Duration, "window of each point")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("rate") && !cmd.Flags().Changed("share") {
			w.Shares = nil
		}
		w.Bytes = int(payload)
		if err := w.Validate(); err != nil {
			return err
		}
		return c.with(cmd.Context(), a, w.Run)
	}
	return cmd
}
