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

// aside are settings that are axes of the plots, or follow from others.
var aside = []string{"outstanding", "connections", "rate", "share", "subscribers", "turn", "work", "page_limit"}

// setting is what a result's configuration says under a name, for a legend; "" for
// nothing.
func setting(r *bench.Result, name string) string {
	if slices.Contains(aside, name) {
		return ""
	}
	title := strings.ReplaceAll(name, "_", " ")
	switch v := r.Config[name].(type) {
	case float64:
		if v != 0 {
			return fmt.Sprintf("%s %g", title, v)
		}
	case bool:
		if v {
			return title
		}
	case string:
		return v
	}
	return ""
}

// names gives each result its name in a legend or on an axis: what base says, and
// the settings in which results of that name differ.
func names(results []*bench.Result, base func(*bench.Result) string) []string {
	settings := map[string]map[string]map[string]bool{} // base → setting → texts
	for _, r := range results {
		b := base(r)
		if settings[b] == nil {
			settings[b] = map[string]map[string]bool{}
		}
		for k := range r.Config {
			settings[b][k] = map[string]bool{}
		}
	}
	for _, r := range results {
		for k, texts := range settings[base(r)] {
			texts[setting(r, k)] = true
		}
	}
	all := make([]string, len(results))
	for i, r := range results {
		parts := []string{base(r)}
		of := settings[parts[0]]
		for _, k := range slices.Sorted(maps.Keys(of)) {
			if text := setting(r, k); len(of[k]) > 1 && text != "" {
				parts = append(parts, text)
			}
		}
		all[i] = strings.Join(parts, ", ")
	}
	return all
}

// left says how many of n lines are not drawn; "" when all are.
func left(n int) string {
	if n <= linesMax {
		return ""
	}
	return fmt.Sprintf("The first %d of %d lines; the table has all.", linesMax, n)
}

// noted joins what is to be said under a plot.
func noted(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), " ")
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

// style is how line i is drawn: there are fewer colours than lines, and those that
// share one differ in their dashes.
func style(i int) draw.LineStyle {
	return draw.LineStyle{Color: plotutil.Color(i), Width: vg.Points(1.5), Dashes: plotutil.Dashes(i / len(plotutil.DefaultColors))}
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
		line.LineStyle = style(i)
		dots.Color, dots.Shape = line.Color, draw.CircleGlyph{}
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

// closedLoop gives the results that have a number of operations outstanding.
func closedLoop(results []bench.Result) (closed []*bench.Result) {
	for i := range results {
		if _, ok := number(&results[i], "outstanding"); ok && results[i].Rate > 0 {
			closed = append(closed, &results[i])
		}
	}
	return closed
}

func system(r *bench.Result) string { return r.System }

func throughput(results []bench.Result) ([]figure, error) {
	s := make(series)
	closed := closedLoop(results)
	for i, line := range names(closed, system) {
		n, _ := number(closed[i], "outstanding")
		s.add(line, n, closed[i].Rate)
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
	return []figure{{"throughput", "Throughput", noted("Closed loop: each answer starts the next operation.", left(len(s))), p, height}}, nil
}

func tradeoff(results []bench.Result) ([]figure, error) {
	s := make(series)
	closed := closedLoop(results)
	for i, line := range names(closed, system) {
		if ack := closed[i].Latency["ack"]; ack.P50 > 0 {
			s.add(line+", p50", closed[i].Rate, ack.P50)
			s.add(line+", p99", closed[i].Rate, ack.P99)
		}
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
	return []figure{{"tradeoff", "Latency over throughput", noted("The same points: what more load costs.", left(len(s))), p, height}}, nil
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
	byLoad := make(map[string][]*bench.Result) // workload and kind of latency → results
	kinds := make(map[string]string)
	for i := range results {
		r := &results[i]
		for kind, l := range r.Latency {
			if l.Count == 0 || l.HDR == "" {
				continue
			}
			key := r.Workload + ", " + strings.ReplaceAll(kind, "_", " ")
			byLoad[key], kinds[key] = append(byLoad[key], r), kind
		}
	}
	var all []figure
	for _, key := range slices.Sorted(maps.Keys(byLoad)) {
		p := newPlot("Percentiles: "+key, "share of answers that were at least so fast", "latency, ms")
		merged, order, err := mergedCurves(byLoad[key], kinds[key])
		if err != nil {
			return nil, err
		}
		for i, name := range order[:min(len(order), linesMax)] {
			drawn, err := plotter.NewLine(curve(merged[name]))
			if err != nil {
				return nil, fmt.Errorf("report: %w", err)
			}
			drawn.LineStyle = style(i)
			p.Add(drawn)
			p.Legend.Add(name, drawn)
		}
		if p.X.Max <= p.X.Min {
			continue // one answer makes no curve
		}
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, shareTicks{}
		logScale(&p.Y, legendRoom(len(order)))
		name := "percentiles-" + strings.NewReplacer(", ", "-", " ", "-").Replace(key)
		all = append(all, figure{name, "Percentiles: " + key, left(len(order)), p, height})
	}
	return all, nil
}

// mergedCurves gives the histogram of each line, in the order of the results:
// repeated measurements of one point are one line.
func mergedCurves(results []*bench.Result, kind string) (merged map[string]*bench.Histogram, order []string, err error) {
	merged = make(map[string]*bench.Histogram)
	lines := names(results, func(r *bench.Result) string { return r.System + " " + r.Label })
	for i, r := range results {
		l := r.Latency[kind]
		h, err := l.Histogram()
		if err != nil {
			return nil, nil, fmt.Errorf("report: %s %s: %w", r.Workload, r.Label, err)
		}
		if merged[lines[i]] == nil {
			merged[lines[i]] = bench.NewHistogram()
			order = append(order, lines[i])
		}
		merged[lines[i]].Merge(h)
	}
	return merged, order, nil
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

// bySystem gives the rates of each work that more than one system was given: work →
// system → rates. The same work of two comparisons, such as of one log and of
// eight, is two.
func bySystem(results []bench.Result) map[string]map[string][]float64 {
	title := func(r *bench.Result) string {
		if strings.HasPrefix(r.Label, r.Workload) {
			return r.Label
		}
		return r.Workload + " " + r.Label
	}
	comparisons := make(map[string]map[string]bool) // title → what was compared
	for i := range results {
		t := title(&results[i])
		if comparisons[t] == nil {
			comparisons[t] = make(map[string]bool)
		}
		comparisons[t][setting(&results[i], "compared")] = true
	}
	rates := make(map[string]map[string][]float64)
	for i := range results {
		r := &results[i]
		work := title(r)
		if text := setting(r, "compared"); len(comparisons[work]) > 1 && text != "" {
			work += ", " + text
		}
		if r.Rate <= 0 {
			continue
		}
		if rates[work] == nil {
			rates[work] = make(map[string][]float64)
		}
		rates[work][r.System] = append(rates[work][r.System], r.Rate)
	}
	maps.DeleteFunc(rates, func(_ string, by map[string][]float64) bool { return len(by) < 2 })
	return rates
}

// bars compares the systems where there is more than one.
func bars(results []bench.Result) ([]figure, error) {
	rates := bySystem(results)
	works := slices.Sorted(maps.Keys(rates))
	systems := make(map[string]bool)
	for _, by := range rates {
		for system := range by {
			systems[system] = true
		}
	}
	if len(works) == 0 {
		return nil, nil
	}
	p := newPlot("Comparison", "operations per second, median", "")
	sides := slices.Sorted(maps.Keys(systems))
	wide := vg.Points(11)
	for i, system := range sides {
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
		b.Offset = wide * vg.Length(float64(len(sides)-1)/2-float64(i))
		p.Add(b)
		p.Legend.Add(system, b)
	}
	p.Legend.Left = false
	p.Legend.Top = false
	p.NominalY(works...)
	p.X.Max *= 1.4 // room for the legend
	tall := max(height, vg.Length(len(works)*(len(sides)+1))*wide+3*vg.Centimeter)
	return []figure{{"comparison", "Comparison", "Each bar is the median of its measurements.", p, tall}}, nil
}
