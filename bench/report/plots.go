package report

import (
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/chatnode/chatnode/bench"
)

// figure is one plot with its name, which is that of its files.
type figure struct {
	name, title, note string
	plot              *plot.Plot
	height            vg.Length
}

const (
	width  = 20 * vg.Centimeter
	height = 11 * vg.Centimeter
)

// linesMax bounds the lines of one plot: more than this nobody can tell apart.
const linesMax = 12

// figures gives the plots that the results have something for.
func figures(results []bench.Result) ([]figure, error) {
	var all []figure
	for _, build := range []func([]bench.Result) ([]figure, error){throughput, tradeoff, percentiles, timelines, bars} {
		f, err := build(results)
		if err != nil {
			return nil, err
		}
		all = append(all, f...)
	}
	return all, nil
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(6)
	p.Legend.Top = true
	p.Legend.Left = true
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{225}, color.Gray{225}
	p.Add(grid)
	return p
}

// number reads a number of a result's configuration.
func number(r *bench.Result, name string) (float64, bool) {
	v, ok := r.Config[name].(float64)
	return v, ok
}

// load tells apart results that are not points of one line.
func load(r *bench.Result) string {
	parts := []string{r.System}
	for _, k := range slices.Sorted(maps.Keys(r.Config)) {
		if slices.Contains([]string{"outstanding", "connections", "rate", "share", "subscribers", "turn", "page_limit"}, k) {
			continue
		}
		switch v := r.Config[k].(type) {
		case float64:
			if v != 0 {
				parts = append(parts, fmt.Sprintf("%s %g", strings.ReplaceAll(k, "_", " "), v))
			}
		case string:
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, ", ")
}

// series gathers the points of the lines of a plot; points at the same place
// become their median.
type series map[string]map[float64][]float64

func (s series) add(line string, x, y float64) {
	if s[line] == nil {
		s[line] = make(map[float64][]float64)
	}
	s[line][x] = append(s[line][x], y)
}

func (s series) draw(p *plot.Plot) error {
	names := slices.Sorted(maps.Keys(s))
	for i, name := range names[:min(len(names), linesMax)] {
		var points plotter.XYs
		for x, ys := range s[name] {
			points = append(points, plotter.XY{X: x, Y: median(ys)})
		}
		slices.SortFunc(points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		line.Color, line.Width = plotutil.Color(i), vg.Points(1.5)
		dots.Color, dots.Shape = plotutil.Color(i), draw.CircleGlyph{}
		p.Add(line, dots)
		p.Legend.Add(name, line, dots)
	}
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// logScale makes an axis logarithmic when all its values allow it. room leaves
// space above the lines for the legend, in powers of ten.
func logScale(a *plot.Axis, room float64) {
	if a.Min > 0 && a.Max > a.Min {
		a.Max *= math.Pow(10, room)
		a.Scale, a.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
}

// legendRoom is what a legend of n lines needs on an axis of about three
// powers of ten.
func legendRoom(n int) float64 { return 0.2 * float64(min(n, linesMax)) }

func throughput(results []bench.Result) ([]figure, error) {
	s := make(series)
	for i := range results {
		r := &results[i]
		if n, ok := number(r, "outstanding"); ok && r.Rate > 0 {
			s.add(load(r), n, r.Rate)
		}
	}
	if len(s) == 0 {
		return nil, nil
	}
	p := newPlot("Throughput", "operations outstanding", "operations per second")
	if err := s.draw(p); err != nil {
		return nil, err
	}
	logScale(&p.X, 0)
	logScale(&p.Y, legendRoom(len(s)))
	return []figure{{"throughput", "Throughput", "Closed loop: each answer starts the next operation.", p, height}}, nil
}

func tradeoff(results []bench.Result) ([]figure, error) {
	s := make(series)
	for i := range results {
		r := &results[i]
		ack, ok := r.Latency["ack"]
		if _, closed := number(r, "outstanding"); !ok || !closed || r.Rate <= 0 || ack.P50 <= 0 {
			continue
		}
		s.add(load(r)+", p50", r.Rate, ack.P50)
		s.add(load(r)+", p99", r.Rate, ack.P99)
	}
	if len(s) == 0 {
		return nil, nil
	}
	p := newPlot("Latency over throughput", "operations per second", "latency of the acknowledgement, ms")
	if err := s.draw(p); err != nil {
		return nil, err
	}
	logScale(&p.X, 0)
	logScale(&p.Y, legendRoom(len(s)))
	return []figure{{"tradeoff", "Latency over throughput", "The same points: what more load costs.", p, height}}, nil
}

// curve is the quantiles at which percentile curves are drawn: 1 - 1/2^k.
func curve(h *bench.Histogram) plotter.XYs {
	var points plotter.XYs
	for k := 0.0; k <= 20; k += 0.5 {
		rest := math.Pow(2, -k)
		if rest*float64(h.Count()) < 0.5 {
			break // fewer answers than one took longer
		}
		points = append(points, plotter.XY{X: 1 / rest, Y: math.Max(0.001, float64(h.At(100*(1-rest)).Microseconds())/1000)})
	}
	return points
}

// shareTicks names the places of a percentile axis.
type shareTicks struct{}

func (shareTicks) Ticks(_, most float64) []plot.Tick {
	var ticks []plot.Tick
	for x, name := range map[float64]string{1: "0 %", 2: "50 %", 10: "90 %", 100: "99 %", 1000: "99.9 %", 1e4: "99.99 %", 1e5: "99.999 %", 1e6: "99.9999 %"} {
		if x <= most {
			ticks = append(ticks, plot.Tick{Value: x, Label: name})
		}
	}
	slices.SortFunc(ticks, func(a, b plot.Tick) int { return cmp.Compare(a.Value, b.Value) })
	return ticks
}

func percentiles(results []bench.Result) ([]figure, error) {
	type line struct {
		name string
		h    *bench.Histogram
	}
	byLoad := make(map[string][]line) // workload and kind of latency → lines
	for i := range results {
		r := &results[i]
		for _, kind := range slices.Sorted(maps.Keys(r.Latency)) {
			l := r.Latency[kind]
			if l.Count == 0 || l.HDR == "" {
				continue
			}
			h, err := l.Histogram()
			if err != nil {
				return nil, fmt.Errorf("report: %s %s: %w", r.Workload, r.Label, err)
			}
			key := r.Workload + ", " + strings.ReplaceAll(kind, "_", " ")
			byLoad[key] = append(byLoad[key], line{r.System + " " + r.Label, h})
		}
	}
	var all []figure
	for _, key := range slices.Sorted(maps.Keys(byLoad)) {
		p := newPlot("Percentiles: "+key, "share of answers that were at least so fast", "latency, ms")
		merged := make(map[string]*bench.Histogram) // repeated measurements of one point are one line
		var names []string
		for _, l := range byLoad[key] {
			if merged[l.name] == nil {
				merged[l.name] = bench.NewHistogram()
				names = append(names, l.name)
			}
			merged[l.name].Merge(l.h)
		}
		for i, name := range names[:min(len(names), linesMax)] {
			drawn, err := plotter.NewLine(curve(merged[name]))
			if err != nil {
				return nil, fmt.Errorf("report: %w", err)
			}
			drawn.Color, drawn.Width = plotutil.Color(i), vg.Points(1.5)
			p.Add(drawn)
			p.Legend.Add(name, drawn)
		}
		if p.X.Max <= p.X.Min {
			continue // one answer makes no curve
		}
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, shareTicks{}
		logScale(&p.Y, legendRoom(len(names)))
		name := "percentiles-" + strings.NewReplacer(", ", "-", " ", "-").Replace(key)
		all = append(all, figure{name, "Percentiles: " + key, "", p, height})
	}
	return all, nil
}

func timelines(results []bench.Result) ([]figure, error) {
	var all []figure
	for i := range results {
		r := &results[i]
		if len(r.Series) < 2 || len(r.Marks) == 0 {
			continue
		}
		p := newPlot("Timeline: "+r.Workload+" "+r.Label, "seconds", "acknowledged appends per second")
		points := make(plotter.XYs, len(r.Series))
		var most float64
		for k, s := range r.Series {
			points[k] = plotter.XY{X: s.At, Y: s.Rate}
			most = max(most, s.Rate)
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		line.Color, line.StepStyle = plotutil.Color(2), plotter.PreStep
		p.Add(line)
		labels := plotter.XYLabels{}
		for _, m := range r.Marks {
			at, err := plotter.NewLine(plotter.XYs{{X: m.At, Y: 0}, {X: m.At, Y: most * 1.05}})
			if err != nil {
				return nil, fmt.Errorf("report: %w", err)
			}
			at.Color, at.Dashes = color.NRGBA{200, 0, 0, 160}, []vg.Length{vg.Points(3), vg.Points(2)}
			p.Add(at)
			labels.XYs = append(labels.XYs, plotter.XY{X: m.At, Y: most * 1.05})
			labels.Labels = append(labels.Labels, m.Text)
		}
		if err := addLabels(p, labels); err != nil {
			return nil, err
		}
		p.Y.Min = 0
		all = append(all, figure{fmt.Sprintf("timeline-%s-%d", r.Label, i+1), "Timeline: " + r.Label, "Dashed: what was done to the cluster.", p, height})
	}
	return all, nil
}

// labelsMax is the number of marks that still have room for their text.
const labelsMax = 24

func addLabels(p *plot.Plot, at plotter.XYLabels) error {
	if len(at.Labels) > labelsMax {
		return nil
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Rotation = math.Pi / 2
		labels.TextStyle[i].XAlign = draw.XRight
		labels.TextStyle[i].Font.Size = vg.Points(7)
		labels.TextStyle[i].Color = color.NRGBA{160, 0, 0, 255}
	}
	p.Add(labels)
	return nil
}

// bars compares the systems where there is more than one.
func bars(results []bench.Result) ([]figure, error) {
	rates := make(map[string]map[string][]float64) // work → system → rates
	systems := make(map[string]bool)
	for i := range results {
		r := &results[i]
		if r.Rate <= 0 {
			continue
		}
		work := r.Workload + " " + r.Label
		if rates[work] == nil {
			rates[work] = make(map[string][]float64)
		}
		rates[work][r.System] = append(rates[work][r.System], r.Rate)
		systems[r.System] = true
	}
	var works []string
	for _, w := range slices.Sorted(maps.Keys(rates)) {
		if len(rates[w]) > 1 {
			works = append(works, w)
		}
	}
	if len(works) == 0 {
		return nil, nil
	}
	p := newPlot("Comparison", "operations per second, median", "")
	names := slices.Sorted(maps.Keys(systems))
	wide := vg.Points(11)
	for i, system := range names {
		values := make(plotter.Values, len(works))
		for k, w := range works {
			if v := rates[w][system]; len(v) > 0 {
				values[k] = median(v)
			}
		}
		b, err := plotter.NewBarChart(values, wide)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		b.Horizontal = true
		b.Color = plotutil.Color(i)
		b.Offset = wide * vg.Length(float64(len(names)-1)/2-float64(i))
		p.Add(b)
		p.Legend.Add(system, b)
	}
	p.Legend.Left = false
	p.Legend.Top = false
	p.NominalY(works...)
	tall := max(height, vg.Length(len(works)*(len(names)+1))*wide+3*vg.Centimeter)
	return []figure{{"comparison", "Comparison", "Each bar is the median of its measurements.", p, tall}}, nil
}
