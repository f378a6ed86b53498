package compare

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Table gathers measurements and gives ratios.
type Table struct {
	works   []Work
	systems []string // chatnode first
	cells   map[cell]measurement
	turns   int
}

type cell struct {
	turn   int
	work   Work
	system string
}

func (t *Table) add(turn int, w Work, system string, m measurement) {
	if t.cells == nil {
		t.cells = map[cell]measurement{}
	}
	t.cells[cell{turn, w, system}] = m
	t.turns = max(t.turns, turn+1)
}

// values are a figure of a system, in the order of turns; NaN where it was not
// measured.
func (t *Table) values(w Work, f figure, system string) []float64 {
	out := make([]float64, t.turns)
	for turn := range out {
		out[turn] = math.NaN()
		if m, ok := t.cells[cell{turn, w, system}]; ok {
			if v := f.of(&m); v > 0 {
				out[turn] = v
			}
		}
	}
	return out
}

// ratio is the median over the turns of how far chatnode is ahead of a peer
// (P1, P2); NaN when there is no pair.
func (t *Table) ratio(w Work, f figure, peer string) float64 {
	own, other := t.values(w, f, t.systems[0]), t.values(w, f, peer)
	var ratios []float64
	for i := range own {
		r := own[i] / other[i]
		if !f.more {
			r = other[i] / own[i]
		}
		if !math.IsNaN(r) {
			ratios = append(ratios, r)
		}
	}
	if len(ratios) == 0 {
		return math.NaN()
	}
	return median(ratios)
}

// Print writes the ratios, then the medians that they come from.
func (t *Table) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "Ratios: how many times chatnode is ahead (median of %d paired turns; above 1 is better)\n", t.turns)
	t.rows(tw, t.systems[1:], func(wk Work, f figure, system string) string { return number(t.ratio(wk, f, system), "×") })
	fmt.Fprintf(tw, "\nMedians\n")
	t.rows(tw, t.systems, func(wk Work, f figure, system string) string {
		return number(median(known(t.values(wk, f, system))), "")
	})
	return tw.Flush()
}

func (t *Table) rows(w io.Writer, systems []string, text func(Work, figure, string) string) {
	fmt.Fprintf(w, "work\tfigure\t%s\n", strings.Join(systems, "\t"))
	for _, wk := range t.works {
		for _, f := range figuresOf(wk) {
			row := []string{wk.Name(), f.name}
			for _, s := range systems {
				row = append(row, text(wk, f, s))
			}
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
	}
}

func known(v []float64) (out []float64) {
	for _, x := range v {
		if !math.IsNaN(x) {
			out = append(out, x)
		}
	}
	return out
}

func number(v float64, unit string) string {
	switch {
	case math.IsNaN(v) || v == 0:
		return "–"
	case v >= 1000:
		return fmt.Sprintf("%.0f%s", v, unit)
	case v >= 10:
		return fmt.Sprintf("%.1f%s", v, unit)
	}
	return fmt.Sprintf("%.2f%s", v, unit)
}
