package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/chatnode/chatnode/bench"
)

//go:embed page.html.tmpl
var pageText string

// drawn is a figure as it stands in the page.
type drawn struct {
	Title, Note string
	SVG         template.HTML
}

// page is what the template shows.
type page struct {
	Title    string
	Machines []string
	Versions []string
	Figures  []drawn
	Results  []bench.Result
}

// Write draws results into one HTML page. With a directory the plots are also
// written there, as PNG and SVG files.
func Write(w io.Writer, title string, results []bench.Result, dir string) error {
	if len(results) == 0 {
		return fmt.Errorf("report: no results")
	}
	tmpl, err := template.New("page").Funcs(template.FuncMap{"f": short}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	figs, err := figures(results)
	if err != nil {
		return err
	}
	p := page{Title: title, Results: results}
	for _, r := range results {
		p.Machines = once(p.Machines, fmt.Sprintf("%s, %d cores, %.0f GiB, %s %s", r.Machine.CPU, r.Machine.Cores, float64(r.Machine.RAM)/(1<<30), r.Machine.OS, r.Machine.Kernel))
		p.Versions = once(p.Versions, fmt.Sprintf("%s %s, load %s, %s", r.System, r.Versions.System, r.Versions.Load, r.Versions.Go))
	}
	for _, f := range figs {
		svg, err := f.svg()
		if err != nil {
			return err
		}
		p.Figures = append(p.Figures, drawn{f.title, f.note, inline(svg)})
		if dir != "" {
			if err := f.save(dir, svg); err != nil {
				return err
			}
		}
	}
	if err := tmpl.Execute(w, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func once(all []string, s string) []string {
	if slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}

// short writes a number with three digits that matter.
func short(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func (f *figure) svg() ([]byte, error) {
	c := vgsvg.NewWith(vgsvg.UseWH(width, f.height))
	f.plot.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return b.Bytes(), nil
}

// save writes the plot as NAME.svg and NAME.png.
func (f *figure) save(dir string, svg []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, f.name+".svg"), svg, 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	c := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width, f.height), vgimg.UseDPI(100))}
	f.plot.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, f.name+".png"), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// inline gives the svg element alone, sized by the page, in its fonts.
func inline(svg []byte) template.HTML {
	s := string(svg)
	if i := strings.Index(s, "<svg"); i >= 0 {
		s = s[i:]
	}
	s = strings.ReplaceAll(s, "Liberation Serif", "sans-serif")
	return template.HTML(s) //nolint:gosec // made by the plotter above, which escapes the texts it writes
}
