package doctest

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/node"
)

// setting is one key of the configuration with its default.
type setting struct {
	key, def string
}

// settings walks the configuration as the loader does.
func settings(prefix string, v reflect.Value) []setting {
	var out []setting
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("mapstructure")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			out = append(out, settings(key+".", f)...)
		} else {
			def := fmt.Sprint(f.Interface())
			if f.Kind() == reflect.Slice && f.Len() == 0 {
				def = ""
			}
			out = append(out, setting{key, def})
		}
	}
	return out
}

var (
	textFlag = regexp.MustCompile(`text\("([a-z-]+)", "([a-z_.]+)"`)
	keyFlag  = regexp.MustCompile(`config\.Key\(fs, "([a-z-]+)", "([a-z_.]+)"\)`)
)

// TestEverySettingIsDocumented: docs/operations.md has a row for each key, with
// its flag and its default.
func TestEverySettingIsDocumented(t *testing.T) {
	flags := make(map[string]string)
	source := read(t, "cmd/chatnode/flags.go")
	for _, re := range []*regexp.Regexp{textFlag, keyFlag} {
		for _, m := range re.FindAllStringSubmatch(source, -1) {
			flags[m[2]] = m[1]
		}
	}
	if len(flags) < 20 {
		t.Fatalf("only %d flags were found in cmd/chatnode/flags.go", len(flags))
	}
	page := read(t, "docs/operations.md")
	known := make(map[string]bool)
	for _, s := range settings("", reflect.ValueOf(node.Default())) {
		known[s.key] = true
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(s.key) + "` \\|(.*)\\|$").FindStringSubmatch(page)
		if row == nil {
			t.Errorf("docs/operations.md has no row for the setting %s", s.key)
			continue
		}
		cells := strings.Split(row[1], "|")
		flag := "none"
		if name := flags[s.key]; name != "" {
			flag = "`--" + name + "`"
		}
		if got := strings.TrimSpace(cells[0]); got != flag {
			t.Errorf("%s: docs/operations.md says that its flag is %s, the command has %s", s.key, got, flag)
		}
		if s.key == "node_id" { // the host's name
			continue
		}
		want := "`" + s.def + "`"
		if s.def == "" {
			want = "none"
		}
		if got := strings.TrimSpace(cells[1]); !strings.HasPrefix(got, want) {
			t.Errorf("%s: docs/operations.md says that its default is %s, the code has %s", s.key, got, want)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+(?:\\.[a-z_]+)?)` \\| (?:`--|none)").FindAllStringSubmatch(page, -1) {
		if !known[m[1]] {
			t.Errorf("docs/operations.md has a row for %s, which is no setting", m[1])
		}
	}
}

var (
	useLine   = regexp.MustCompile(`Use:\s+"([a-z]+)[ "]`)
	reportUse = regexp.MustCompile(`reportCommand\("([a-z]+)"`)
)

// TestEveryCommandIsDocumented: the README or docs/operations.md shows each.
func TestEveryCommandIsDocumented(t *testing.T) {
	text := read(t, "README.md") + read(t, "docs/operations.md")
	found := 0
	for _, source := range files(t, func(path string) bool {
		return strings.HasPrefix(path, "cmd/chatnode/") && !strings.HasSuffix(path, "_test.go")
	}) {
		for _, re := range []*regexp.Regexp{useLine, reportUse} {
			for _, m := range re.FindAllStringSubmatch(source, -1) {
				if m[1] == "chatnode" {
					continue
				}
				found++
				if !regexp.MustCompile(`chatnode ` + m[1] + `\b`).MatchString(text) {
					t.Errorf("neither README.md nor docs/operations.md shows the command chatnode %s", m[1])
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d commands were found in cmd/chatnode", found)
	}
}

var metric = regexp.MustCompile("[\"`](chatnode_[a-z_]+)[\"`]")

// TestEveryMetricIsDocumented: what is measured is explained, and what is
// explained is measured.
func TestEveryMetricIsDocumented(t *testing.T) {
	source, page := read(t, "node/metrics.go")+read(t, "internal/obs/obs.go"), read(t, "docs/operations.md")
	names := func(text string) map[string]bool {
		out := make(map[string]bool)
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			out[m[1]] = true
		}
		return out
	}
	have, told := names(source), names(page)
	for name := range have {
		if !told[name] {
			t.Errorf("docs/operations.md does not explain the metric %s", name)
		}
	}
	for name := range told {
		if !have[name] {
			t.Errorf("docs/operations.md explains the metric %s, which does not exist", name)
		}
	}
}
