package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
)

func (a *app) tokenCommand() *cobra.Command {
	var (
		secretFile, dataDir, device string
		admin                       bool
		ttl                         time.Duration
	)
	cmd := &cobra.Command{
		Use:   "token USER",
		Short: "Make a bearer token for a user",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			scheme, err := a.scheme(secretFile, dataDir)
			if err != nil {
				return err
			}
			p := auth.Principal{User: chat.UserID(args[0]), Device: chat.DeviceID(device), Admin: admin}
			token, err := scheme.Mint(p, time.Now(), ttl)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, token)
			return err
		},
	}
	cmd.Flags().StringVar(&secretFile, "auth-secret-file", "", "file with the secret that signs tokens (or CHATNODE_AUTH_SECRET)")
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "data directory of a dev node: its own secret is used")
	cmd.Flags().StringVar(&device, "device", "", "fix the device")
	cmd.Flags().BoolVar(&admin, "admin", false, "allow the control routes")
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long the token holds")
	return cmd
}
