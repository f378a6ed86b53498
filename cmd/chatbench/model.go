package main

import "github.com/spf13/cobra"

// modelCommands say what a cluster would need, and how it compares with peers.
func (a *app) modelCommands() []*cobra.Command { return nil }
