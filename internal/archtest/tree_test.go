package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/chatnode/chatnode"

// pkg is the part of `go list -json` that the tests read.
type pkg struct {
	ImportPath   string
	Dir          string
	Name         string
	Imports      []string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// rel is the package's path within the module, "." for its root.
func (p pkg) rel() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

// tree lists the module's packages once for all tests of this package.
var tree = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = root()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New("go list: " + err.Error() + ": " + stderr.String())
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

func root() string { return filepath.Join("..", "..") }

func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("go list found no package")
	}
	return all
}

// source is one parsed file.
type source struct {
	pkg  string // relative path of the package
	path string
	test bool
	fset *token.FileSet
	ast  *ast.File
}

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, p := range packages(t) {
		add := func(names []string, test bool) {
			for _, name := range names {
				path := filepath.Join(p.Dir, name)
				fset := token.NewFileSet()
				file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
				if err != nil {
					t.Fatalf("parse: %v", err)
				}
				all = append(all, source{pkg: p.rel(), path: filepath.Join(p.rel(), name), test: test, fset: fset, ast: file})
			}
		}
		add(p.GoFiles, false)
		add(p.TestGoFiles, true)
		add(p.XTestGoFiles, true)
	}
	return all
}

// generated reports whether a file says that a program wrote it.
func generated(s source) bool { return ast.IsGenerated(s.ast) }
