package main

import "github.com/spf13/cobra"

// chaosCommands try to break a cluster.
func (a *app) chaosCommands() []*cobra.Command { return nil }
