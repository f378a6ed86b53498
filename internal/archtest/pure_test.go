package archtest

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// pure packages are replayed on every replica, or parse what strangers send:
// the same input must give the same output on every machine.
var pure = []string{"chat", "merkle", "fsm", "shard", "wire"}

// impure are subtrees of pure packages that are not.
var impure = []string{"fsm/internal/fsmpb", "shard/raftgroup", "shard/router", "shard/placement", "fsm/fsmtest"}

// harmless is all that a pure package may import of the standard library. Not
// in it, on purpose: net, os, math/rand, hash/maphash, log/slog, sync, context.
var harmless = []string{
	"bytes", "cmp", "crypto/sha256", "crypto/subtle", "encoding", "encoding/base64", "encoding/binary",
	"encoding/hex", "encoding/json", "errors", "fmt", "hash", "hash/crc32", "iter", "maps", "math", "math/big",
	"math/bits", "slices", "sort", "strconv", "strings", "time", "unicode", "unicode/utf16", "unicode/utf8", "unsafe", "io",
}

// harmlessOutside is what a pure package may import besides.
var harmlessOutside = []string{"github.com/cespare/xxhash/v2", "google.golang.org/protobuf/encoding/protowire"}

func isPure(path string) bool { return anyWithin(path, pure) && !anyWithin(path, impure) }

func TestPurePackages(t *testing.T) {
	for _, p := range packages(t) {
		if !isPure(p.rel()) {
			continue
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module+"/") || slices.Contains(harmless, imp) || slices.Contains(harmlessOutside, imp) {
				continue
			}
			t.Errorf("%s imports %s: replayed code may not reach the world; take what is needed as an argument", p.rel(), imp)
		}
	}
}

// clocks are calls that read the world's time.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}

func TestPureCodeReadsNoClockAndStartsNothing(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !isPure(s.pkg) || generated(s) {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s:%d starts a goroutine: replayed code has one", s.path, s.line(n.Pos()))
			case *ast.SelectorExpr:
				if id, ok := n.X.(*ast.Ident); ok && id.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					t.Errorf("%s:%d calls time.%s: replayed code takes its time from fsm.Stamp", s.path, s.line(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}
