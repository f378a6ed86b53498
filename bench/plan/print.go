package plan

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Print writes the rows as a table with the formulas and figures below it.
func Print(w io.Writer, rows []Row, f Figures) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, cell func(Row) string) {
		cells := []string{name}
		for _, r := range rows {
			cells = append(cells, cell(r))
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t")+"\t")
	}
	line("daily users", func(r Row) string { return Count(r.DailyUsers) })
	line("sends a day", func(r Row) string { return Count(r.SendsPerDay) })
	line("sends/s at the peak", func(r Row) string { return Count(r.SendsPerSec) })
	line("commands/s at the peak", func(r Row) string { return Count(r.CommandsPerSec) })
	line("deliveries/s at the peak", func(r Row) string { return Count(r.Deliveries) })
	line("connections", func(r Row) string { return Count(r.Connections) })
	line("heartbeats/s", func(r Row) string { return Count(r.Heartbeats) })
	line("groups", func(r Row) string { return Count(r.Groups) })
	line("clusters of 256 groups", func(r Row) string { return Count(r.Clusters) })
	line("cores, store", func(r Row) string { return Count(r.StoreCores) })
	line("cores, front-end", func(r Row) string { return Count(r.FrontCores) })
	line("disk a day", func(r Row) string { return Bytes(r.DiskPerDay) })
	line("disk", func(r Row) string { return Bytes(r.DiskBytes) })
	line("memory of connections", func(r Row) string { return Bytes(r.MemoryBytes) })
	line("nodes", func(r Row) string { return Count(r.Nodes) + " (" + r.Bound + ")" })
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nFormulas\n  %s\n\nFigures (%s; %s)\n  append_cpu_us %g  delivery_cpu_us %g  heartbeat_cpu_us %g  group_appends_per_s_max %g\n  entry_disk_bytes %g  connection_bytes %g  node_base_bytes %g\n",
		strings.Join(Formulas(), "\n  "), f.Machine, f.Command, f.AppendCPUMicros, f.DeliveryCPUMicros, f.HeartbeatMicros, f.GroupAppendsMax,
		f.EntryDiskBytes, f.ConnectionBytes, f.NodeBaseBytes)
	return err
}

// Count writes a number with a unit of thousands, to three digits.
func Count(v float64) string {
	return scaled(math.Ceil(v), 1000, []string{"", " k", " M", " G", " T", " P"})
}

// Bytes writes a size with a decimal unit, to three digits.
func Bytes(v float64) string {
	return scaled(v, 1000, []string{" B", " kB", " MB", " GB", " TB", " PB", " EB"})
}

func scaled(v, base float64, units []string) string {
	i := 0
	for v >= base*0.9995 && i < len(units)-1 {
		v /= base
		i++
	}
	switch {
	case i == 0 || v >= 99.95:
		return fmt.Sprintf("%.0f%s", v, units[i])
	case v >= 9.995:
		return fmt.Sprintf("%.1f%s", v, units[i])
	}
	return fmt.Sprintf("%.2f%s", v, units[i])
}
