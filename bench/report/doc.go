// Package report draws results: one self-contained HTML page with inline SVG,
// and each plot as a PNG and an SVG file.
//
// It owns which plot a result belongs to:
//
//	throughput   rate over operations outstanding, a line per system and load
//	tradeoff     latency over rate, of the same points
//	percentiles  latency over the share of answers that took longer
//	timeline     acknowledged appends over time, with the faults marked
//	bars         rates of several systems side by side
//
// The same results give the same page. Nothing on it is fetched from elsewhere.
package report
