package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/bench"
)

// workload is one of package bench.
type workload interface {
	Run(ctx context.Context, r *bench.Run) error
}

// inTurn runs workloads one after the other on the same cluster.
func inTurn[W workload](all []W) func(context.Context, *bench.Run) error {
	return func(ctx context.Context, r *bench.Run) error {
		for _, w := range all {
			if err := w.Run(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}
}

func (a *app) fanoutCommand() *cobra.Command {
	w := bench.DefaultFanout()
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "One conversation, many subscribers: latency and cost of a delivery",
		Args:  cobra.NoArgs,
	}
	c := commonFlags(cmd)
	fs := cmd.Flags()
	payload := size(w.Bytes)
	fs.IntSliceVar(&w.Subscribers, "subscribers", w.Subscribers, "connections that subscribe, one point each")
	fs.Float64Var(&w.Rate, "rate", w.Rate, "messages per second")
	fs.Var(&payload, "payload", "bytes of a message")
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

func (a *app) connectionsCommand() *cobra.Command {
	w := bench.DefaultConnections()
	cmd := &cobra.Command{
		Use:   "connections",
		Short: "Many open connections: time to open them, memory of each, latency of the few that speak",
		Args:  cobra.NoArgs,
	}
	c := commonFlags(cmd)
	fs := cmd.Flags()
	fs.IntSliceVar(&w.Connections, "connections", w.Connections, "connections, one point each")
	fs.IntVar(&w.AtOnce, "at-once", w.AtOnce, "connects under way at a time")
	fs.Float64Var(&w.Active, "active", w.Active, "share of the connections that send once a second")
	fs.DurationVar(&w.Idle, "idle", w.Idle, "time without a message, in which the idle cost is measured")
	fs.DurationVar(&w.Duration, "duration", w.Duration, "time in which the active ones send")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := w.Validate(); err != nil {
			return err
		}
		return c.with(cmd.Context(), a, w.Run)
	}
	return cmd
}
