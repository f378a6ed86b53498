package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/bench"
	"github.com/chatnode/chatnode/bench/report"
)

// reportCommands draw what was measured.
func (a *app) reportCommands() []*cobra.Command {
	var out, title, plots string
	cmd := &cobra.Command{
		Use:   "report FILE…",
		Short: "Draw result files as one self-contained HTML page, and as PNG and SVG plots",
		Args:  cobra.MinimumNArgs(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var all []bench.Result
		for _, name := range args {
			results, err := readResults(name)
			if err != nil {
				return err
			}
			all = append(all, results...)
		}
		return writeReport(out, title, plots, all)
	}
	cmd.Flags().StringVarP(&out, "out", "o", "report.html", "the page")
	cmd.Flags().StringVar(&title, "title", "chatnode, measured", "title of the page")
	cmd.Flags().StringVar(&plots, "plots", "", "directory for the plots as files (default: none)")
	return []*cobra.Command{cmd}
}

func readResults(name string) ([]bench.Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	results, err := bench.ReadResults(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return results, nil
}

// writeReport puts the page in place when it is complete.
func writeReport(out, title, plots string, results []bench.Result) error {
	f, err := os.CreateTemp(filepath.Dir(out), ".report-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // is gone when all went well
	err = errors.Join(report.Write(f, title, results, plots), f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}
