package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type settings struct {
	Listen string `mapstructure:"listen"`
	Log    struct {
		Level string        `mapstructure:"level"`
		Every time.Duration `mapstructure:"every"`
	} `mapstructure:"log"`
	Peers  []string `mapstructure:"peers"`
	Count  int      `mapstructure:"count"`
	Open   bool     `mapstructure:"open"`
	Secret string   `mapstructure:"secret"`
}

func flagsFor(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.String("listen", "127.0.0.1:1", "")
	fs.String("log-level", "info", "")
	fs.Duration("log-every", time.Second, "")
	fs.StringSlice("peers", nil, "")
	Key(fs, "listen", "listen")
	Key(fs, "log-level", "log.level")
	Key(fs, "log-every", "log.every")
	Key(fs, "peers", "peers")
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := write(t, "chatnode.yaml", "listen: file\nlog:\n  level: file\n  every: 3s\npeers: [a, b]\nsecret: hidden\n")
	var got settings
	loaded, err := Load(flagsFor(t, "--listen", "flag"), Source{
		EnvPrefix: "T",
		Environ:   []string{"T_LISTEN=env", "T_LOG_LEVEL=env", "T_PORT=tcp://injected", "OTHER=1"},
		File:      file,
		Defaults:  map[string]any{"secret": ""},
	}, &got)
	if err != nil {
		t.Fatal(err)
	}
	var want settings
	want.Listen, want.Log.Level, want.Log.Every = "flag", "env", 3*time.Second
	want.Peers, want.Secret = []string{"a", "b"}, "hidden"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	wantOrigins := []Origin{{"listen", "flag"}, {"log.every", "file"}, {"log.level", "env"}, {"peers", "file"}, {"secret", "file"}}
	if diff := cmp.Diff(wantOrigins, loaded.Origins); diff != "" {
		t.Errorf("origins (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(loaded.Warnings, func(w string) bool { return strings.Contains(w, "T_PORT") }) {
		t.Errorf("warnings = %q, want one about T_PORT", loaded.Warnings)
	}
}

func TestEnvironmentReachesKeysWithoutFlag(t *testing.T) {
	var got settings
	_, err := Load(flagsFor(t), Source{EnvPrefix: "T", Environ: []string{"T_SECRET=s", "T_LOG_EVERY=2m", "T_PEERS=x,y"}, Defaults: map[string]any{"secret": ""}}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.Secret != "s" || got.Log.Every != 2*time.Minute || len(got.Peers) != 2 {
		t.Errorf("settings = %+v", got)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name string
		src  Source
		want string // part of the error
	}{
		{"a typo in the file", Source{File: write(t, "c.yaml", "log:\n  lefel: debug\n")}, "lefel"},
		{"a file that is not there", Source{File: filepath.Join(t.TempDir(), "none.yaml")}, "no such file"},
		{"a file of another kind", Source{File: write(t, "c.ini", "x")}, "ending"},
		{"broken yaml", Source{File: write(t, "c.yaml", ":\n- [")}, "c.yaml"},
		{"a duration that is none", Source{EnvPrefix: "T", Environ: []string{"T_LOG_EVERY=soon"}}, "log.every"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got settings
			_, err := Load(flagsFor(t), tt.src, &got)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %v, want an error that names %q", err, tt.want)
			}
		})
	}
}

// TestTypes: what a file or the environment gives is taken as it was meant, or
// refused with the key.
func TestTypes(t *testing.T) {
	tests := []struct {
		name string
		file string // text of a file
		ext  string // .yaml when empty
		env  string
		want string // parts of the error, by blanks; "" for none
	}{
		{name: "right", file: "listen: x\nlog: {every: 2s}\ncount: 2\nopen: true\npeers: [a]\n"},
		{name: "right in JSON", file: `{"log": {"every": "2s"}, "count": 2, "open": false}`, ext: ".json"},
		{name: "right in TOML", file: "count = 2\nopen = true\n[log]\nevery = \"2s\"\n", ext: ".toml"},
		{name: "a whole float", file: "count: 2.0\n"},
		{name: "quoted digits", file: "listen: \"007\"\n"},
		{name: "nothing after the colon", file: "listen:\ncount:\n"},
		{name: "a duration without unit", file: "log: {every: 15}\n", want: "log.every 15s"},
		{name: "a duration of 0", file: "log: {every: 0}\n", want: "log.every 15s"},
		{name: "a fraction without unit", file: "log: {every: 1.5}\n", want: "log.every 15s"},
		{name: "quoted, without unit", file: "log: {every: \"15\"}\n", want: "log.every 15s"},
		{name: "without unit in JSON", file: `{"log": {"every": 15}}`, ext: ".json", want: "log.every 15s"},
		{name: "a broken number", file: "count: 2.5\n", want: "count 2.5 whole"},
		{name: "a broken number in JSON", file: `{"count": 3.9}`, ext: ".json", want: "count 3.9 whole"},
		{name: "a number that only just does not fit", file: "count: 9223372036854775808\n", want: "count"},
		{name: "a number out of all bounds", file: "count: 1e300\n", want: "count whole"},
		{name: "truth for a number", file: "count: true\n", want: "count whole"},
		{name: "a number for text", file: "listen: 007\n", want: "listen quotes"},
		{name: "a number among texts", file: "peers: [a, 1]\n", want: "peers[1] quotes"},
		{name: "truth for text", file: "listen: yes\n", want: ""}, // YAML 1.2: text
		{name: "true for text", file: "listen: true\n", want: "listen quotes"},
		{name: "a number for truth", file: "open: 1\n", want: "open true"},
		{name: "environment", env: "T_COUNT=3"},
		{name: "a broken number in the environment", env: "T_COUNT=2.5", want: "count 2.5"},
		{name: "a duration without unit in the environment", env: "T_LOG_EVERY=15", want: "log.every 15s"},
		{name: "empty text in the environment", env: "T_LISTEN="},
		{name: "an empty number in the environment", env: "T_COUNT=", want: "count empty"},
		{name: "an empty duration in the environment", env: "T_LOG_EVERY=", want: "log.every empty"},
		{name: "an empty truth in the environment", env: "T_OPEN=", want: "open empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := Source{EnvPrefix: "T", Environ: []string{tt.env}, Defaults: map[string]any{"count": 1, "open": false}}
			if tt.ext == "" {
				tt.ext = ".yaml"
			}
			if tt.file != "" {
				src.File = write(t, "c"+tt.ext, tt.file)
			}
			var got settings
			_, err := Load(flagsFor(t), src, &got)
			if (err == nil) != (tt.want == "") {
				t.Fatalf("Load = %v with %+v, want an error that names %q", err, got, tt.want)
			}
			for part := range strings.FieldsSeq(tt.want) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Load = %v, want an error that names %q", err, part)
				}
			}
		})
	}
}

func TestSearchTakesTheFirstFile(t *testing.T) {
	first, second := write(t, "a.yaml", "listen: first\n"), write(t, "b.yaml", "listen: second\n")
	var got settings
	loaded, err := Load(flagsFor(t), Source{Search: []string{filepath.Join(t.TempDir(), "none.yaml"), first, second}}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "first" || loaded.File != first {
		t.Errorf("listen = %q of %q, want first of %q", got.Listen, loaded.File, first)
	}
}
