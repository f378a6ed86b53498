package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/node"
	"github.com/chatnode/chatnode/shard"
)

func (a *app) removeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the cluster, dead or alive",
		Long: `remove asks the cluster to move every replica away from a node, as far as there are other nodes
to take them, and then ends its membership. It returns at once; chatnode members shows the node as
leaving until it is gone. A node that was removed never comes back under its id: join again with an
empty data directory and a new one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.caller(cmd)
			if err != nil {
				return err
			}
			req := node.RemoveRequest{Node: shard.NodeID(args[0])}
			if err := c.do(cmd.Context(), http.MethodPost, "/v1/admin/remove", req, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s is leaving; chatnode members shows when it is gone\n", req.Node)
			return err
		},
	}
	a.callerFlags(cmd.Flags())
	return cmd
}
