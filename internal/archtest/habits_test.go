package archtest

import (
	"go/ast"
	"strings"
	"testing"
)

// Sizes above which a file or a function no longer is one thing.
const (
	fileLinesMax     = 500
	functionLinesMax = 90
)

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || generated(s) {
			continue
		}
		if n := s.line(s.ast.FileEnd); n > fileLinesMax {
			t.Errorf("%s has %d lines, more than %d: split it by the reasons it changes for", s.path, n, fileLinesMax)
		}
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > functionLinesMax {
					t.Errorf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, n, functionLinesMax)
				}
			}
		}
	}
}

func TestEachPackageHasOneComment(t *testing.T) {
	comments := make(map[string][]string)
	for _, s := range sources(t) {
		if s.test || generated(s) {
			continue
		}
		if _, ok := comments[s.pkg]; !ok {
			comments[s.pkg] = nil
		}
		if s.ast.Doc != nil {
			comments[s.pkg] = append(comments[s.pkg], s.path)
			if text := s.ast.Doc.Text(); !strings.HasPrefix(text, "Package ") && !strings.HasPrefix(text, "Command ") {
				t.Errorf("%s: the package comment begins with %.30q, want \"Package name …\" or \"Command name …\"", s.path, text)
			}
		}
	}
	for pkg, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s has %d package comments %v, want one that says what the package owns", pkg, len(files), files)
		}
	}
}

func TestNobodySleeps(t *testing.T) {
	for _, s := range sources(t) {
		if s.test && importsPath(s, "testing/synctest") || within(s.pkg, "internal/fault") {
			continue // a fault that makes something slow does so by sleeping
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if call, ok := selector(n); ok && call == "time.Sleep" {
				t.Errorf("%s:%d sleeps: wait for a condition with a deadline, or use testing/synctest", s.path, s.line(n.Pos()))
			}
			return true
		})
	}
}

// TestNobodyWaitsByTheWallClock: a clock that is set jumps, and a moment that is
// kept as its number is then hours away. Durations come from internal/mono or
// from time.Time; what entries carry for people is exempt.
func TestNobodyWaitsByTheWallClock(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "UnixNano" && sel.Sel.Name != "UnixMicro" {
				return true
			}
			if of, ok := sel.X.(*ast.SelectorExpr); ok && of.Sel.Name == "AppendedAt" {
				return true
			}
			t.Errorf("%s:%d takes a number from the wall clock: use internal/mono", s.path, s.line(n.Pos()))
			return true
		})
	}
}

func TestNobodyExitsFromBelow(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			call, ok := selector(n)
			if !ok {
				return true
			}
			if strings.HasPrefix(call, "log.Fatal") || call == "os.Exit" && !within(s.pkg, "cmd") {
				t.Errorf("%s:%d calls %s: nothing deferred would run; return the error", s.path, s.line(n.Pos()), call)
			}
			return true
		})
	}
}

func TestNoInitFunctions(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || generated(s) {
			continue
		}
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s:%d has an init function: what a package needs enters by an argument", s.path, s.line(f.Pos()))
			}
		}
	}
}

// selector gives "pkg.Name" when n is a use of a name of a package.
func selector(n ast.Node) (string, bool) {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name + "." + sel.Sel.Name, true
}

func importsPath(s source, path string) bool {
	for _, i := range s.ast.Imports {
		if i.Path.Value == `"`+path+`"` {
			return true
		}
	}
	return false
}
