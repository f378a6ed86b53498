//go:build !linux

package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"
)

// chaosCommand says that chaos needs Linux: it breaks processes, networks and
// disks by means of that system.
func chaosCommand(io.Writer, io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "chaos",
		Short: "Break a cluster under load and check every promise (Linux only)",
		RunE:  func(*cobra.Command, []string) error { return errors.New("chaos needs Linux") },
	}
}
