package main

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/node"
	"github.com/chatnode/chatnode/shard"
)

func (a *app) transferCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transfer GROUP NODE",
		Short: "Let another node lead a group",
		Long: `transfer hands the leadership of a group to a node that votes in it. The placement loop spreads
leaders evenly and may hand it on after a while.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			group, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil || group > shard.GroupsMax {
				return fmt.Errorf("%q is not the number of a group", args[0])
			}
			c, err := a.caller(cmd)
			if err != nil {
				return err
			}
			req := node.TransferRequest{Group: shard.GroupID(group), To: shard.NodeID(args[1])}
			if err := c.do(cmd.Context(), http.MethodPost, "/v1/admin/transfer", req, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s leads group %d\n", req.To, req.Group)
			return err
		},
	}
	a.callerFlags(cmd.Flags())
	return cmd
}
