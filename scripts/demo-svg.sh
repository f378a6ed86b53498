#!/usr/bin/env bash
# Draws a recorded session as a picture of a terminal.
#
#   scripts/demo-svg.sh FILE >PICTURE.svg
set -euo pipefail
[[ $# -eq 1 ]] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }

awk '
	{ lines[NR] = $0; if (length($0) > wide) wide = length($0) }
	function plain(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
	END {
		w = wide * 7.25 + 32; h = NR * 16 + 56
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace\" font-size=\"12\" role=\"img\">\n", w, h
		print "<title>A run of chatnode on three nodes</title>"
		printf "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#14181f\" stroke=\"#3b4454\"/>\n", w, h
		split("#e0655c #e3b341 #57ab5a", dots, " ")
		for (i = 1; i <= 3; i++) printf "<circle cx=\"%d\" cy=\"18\" r=\"5\" fill=\"%s\"/>\n", i * 18, dots[i]
		for (i = 1; i <= NR; i++) {
			if (lines[i] == "") continue
			colour = lines[i] ~ /^# / ? "#7ee2a8" : lines[i] ~ /^\$ / ? "#ffffff" : "#b6c2d1"
			printf "<text x=\"16\" y=\"%d\" fill=\"%s\" xml:space=\"preserve\">%s</text>\n", 32 + i * 16, colour, plain(lines[i])
		}
		print "</svg>"
	}
' "$1"
