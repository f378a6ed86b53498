package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../.."

// read gives a file of the tree.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// documents gives every page of the tree, by its path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	return files(t, func(path string) bool { return filepath.Ext(path) == ".md" })
}

func files(t *testing.T, want func(path string) bool) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "node_modules", "bin", "data"}, d.Name()) {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || d.IsDir() || !want(rel) {
			return err
		}
		out[rel] = read(t, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no file was found")
	}
	return out
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code     = regexp.MustCompile("(?s)```.*?```")
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.*)$`)
	notInID  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
	target   = regexp.MustCompile("[`\\s(]make ([a-z][a-z-]*)(?:[ `,;)]|\n)")
	srcFile  = regexp.MustCompile("`([a-z0-9_./-]*/[a-z0-9_.-]+\\.(?:go|sh|proto|md|txt|log))`")
	makeRule = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
)

// TestLinks: a link within the tree leads to a file, and its fragment to a
// heading.
func TestLinks(t *testing.T) {
	docs := documents(t)
	checked := 0
	for path, text := range docs {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			checked++
			file, fragment, _ := strings.Cut(m[1], "#")
			goal := path
			if file != "" {
				goal = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(filepath.Join(root, goal)); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, m[1])
				continue
			}
			if page, ok := docs[goal]; ok && fragment != "" && !slices.Contains(anchors(page), fragment) {
				t.Errorf("%s links to %s, but %s has no such heading", path, m[1], goal)
			}
		}
	}
	if checked == 0 {
		t.Error("no link was checked")
	}
}

// anchors gives the fragments of a page's headings, as forges make them.
func anchors(page string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(code.ReplaceAllString(page, ""), -1) {
		id := notInID.ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), "")
		out = append(out, strings.ReplaceAll(id, " ", "-"))
	}
	return out
}

// TestNamedTestsExist: a proof that a page names is a test that runs.
func TestNamedTestsExist(t *testing.T) {
	exists := make(map[string]bool)
	for _, text := range files(t, func(path string) bool { return strings.HasSuffix(path, "_test.go") }) {
		for _, m := range testFunc.FindAllStringSubmatch(text, -1) {
			exists[m[1]] = true
		}
	}
	for path, text := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !exists[m[1]] {
				t.Errorf("%s names the test %s, which does not exist", path, m[1])
			}
		}
	}
}

// TestNamedFilesExist: a file that a page names by its path is there.
func TestNamedFilesExist(t *testing.T) {
	checked := 0
	for path, text := range documents(t) {
		for _, m := range srcFile.FindAllStringSubmatch(text, -1) {
			checked++
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names the file %s, which does not exist", path, m[1])
			}
		}
	}
	if checked == 0 {
		t.Error("no file was checked")
	}
}

// TestMakeTargetsExist: what a page tells to make can be made.
func TestMakeTargetsExist(t *testing.T) {
	exists := make(map[string]bool)
	for _, text := range files(t, func(path string) bool { return path == "Makefile" || filepath.Ext(path) == ".mk" }) {
		for _, m := range makeRule.FindAllStringSubmatch(text, -1) {
			exists[m[1]] = true
		}
	}
	for path, text := range documents(t) {
		// Only what is set as code: "make" is a word of English, too.
		for _, snippet := range regexp.MustCompile("(?s)```.*?```|`[^`\n]+`").FindAllString(text, -1) {
			for _, m := range target.FindAllStringSubmatch(snippet, -1) {
				if !exists[m[1]] {
					t.Errorf("%s says make %s, which the Makefile does not have", path, m[1])
				}
			}
		}
	}
}

// TestReadmeNamesWhatCIRuns: whoever follows the README runs what CI runs.
func TestReadmeNamesWhatCIRuns(t *testing.T) {
	if !regexp.MustCompile(`(?m)^\s*exec make .*\btest$`).MatchString(read(t, ".ci/run")) {
		t.Error(".ci/run does not call make test, the test command of the README")
	}
	readme := read(t, "README.md")
	for _, want := range []string{"make test", ".ci/run", "make build"} {
		if !strings.Contains(readme, want) {
			t.Errorf("README.md does not name %q", want)
		}
	}
}
