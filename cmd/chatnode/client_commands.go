package main

import "github.com/spf13/cobra"

// clientCommands chat: they use the service as any other client does.
func (a *app) clientCommands() []*cobra.Command { return nil }
