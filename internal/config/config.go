package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// keyAnnotation marks a flag with the key it sets.
const keyAnnotation = "chatnode_config_key"

// Source says where settings come from besides flags.
type Source struct {
	EnvPrefix string         // "CHATNODE"
	Environ   []string       // as os.Environ gives it
	File      string         // must exist when given
	Search    []string       // the first that exists is read when File is ""
	Defaults  map[string]any // keys that have no flag, with their defaults
	Others    []string       // variables with the prefix that are no keys and known to be none
}

// Origin says where one key's value came from: "flag", "env", "file" or
// "default".
type Origin struct{ Key, From string }

// Loaded reports how a configuration came about.
type Loaded struct {
	File     string // the file that was read, "" for none
	Origins  []Origin
	Warnings []string
}

// Key ties a flag to a key. The flag must exist in the set.
func Key(flags *pflag.FlagSet, flag, key string) {
	f := flags.Lookup(flag)
	if f == nil {
		panic("config: no flag " + flag + " to tie to " + key) // a mistake in the program, met by its first run
	}
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[keyAnnotation] = []string{key}
}

// Load fills into from the flags that carry a key, the environment, the file
// and the defaults.
func Load(flags *pflag.FlagSet, src Source, into any) (Loaded, error) {
	v := viper.New()
	keys := bind(v, flags, src)
	var out Loaded
	file, err := findFile(src)
	if err != nil {
		return out, err
	}
	if file != "" {
		if err := readFile(v, file); err != nil {
			return out, err
		}
		out.File = file
	}
	// The environment is applied by hand, from the list given: viper would
	// read the process's own, which a test cannot set in parallel.
	env, warnings := environment(src, keys)
	out.Warnings = warnings
	for key, value := range env {
		if !flagSet(flags, key) {
			v.Set(key, value)
		}
	}
	if err := v.UnmarshalExact(into, viper.DecodeHook(strict)); err != nil {
		return out, explain(err, file)
	}
	for _, key := range keys {
		out.Origins = append(out.Origins, Origin{Key: key, From: origin(v, flags, env, key)})
	}
	return out, nil
}

// bind tells viper of every key with its default, without which it would not
// see values of the environment, and returns the sorted keys.
func bind(v *viper.Viper, flags *pflag.FlagSet, src Source) []string {
	var keys []string
	for key, def := range src.Defaults {
		v.SetDefault(key, def)
		keys = append(keys, key)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if key := keyOf(f); key != "" {
			// BindPFlag fails for a nil flag only.
			_ = v.BindPFlag(key, f)
			keys = append(keys, key)
		}
	})
	slices.Sort(keys)
	return slices.Compact(keys)
}

func findFile(src Source) (string, error) {
	if src.File != "" {
		if _, err := os.Stat(src.File); err != nil {
			return "", fmt.Errorf("configuration file: %w", err)
		}
		return src.File, nil
	}
	for _, path := range src.Search {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("configuration file: %w", err)
		}
	}
	return "", nil
}

func readFile(v *viper.Viper, path string) error {
	switch filepath.Ext(path) {
	case ".yaml", ".yml", ".toml", ".json":
	default:
		return fmt.Errorf("configuration file %s: want the ending .yaml, .toml or .json", path)
	}
	v.SetConfigFile(path)
	if err := v.ReadInConfig(); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	return nil
}

// environment gives the values of the keys that the environment sets, and a
// warning for each variable with the prefix that is no key.
func environment(src Source, keys []string) (map[string]string, []string) {
	byName := make(map[string]string, len(keys))
	for _, key := range keys {
		byName[envName(src.EnvPrefix, key)] = key
	}
	values := make(map[string]string)
	var warnings []string
	for _, line := range src.Environ {
		name, value, ok := strings.Cut(line, "=")
		if !ok || !strings.HasPrefix(name, src.EnvPrefix+"_") {
			continue
		}
		if key, known := byName[name]; known {
			values[key] = value
		} else if !slices.Contains(src.Others, name) {
			warnings = append(warnings, "the environment variable "+name+" is no setting")
		}
	}
	slices.Sort(warnings)
	return values, warnings
}

func envName(prefix, key string) string {
	return prefix + "_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

func origin(v *viper.Viper, flags *pflag.FlagSet, env map[string]string, key string) string {
	if flagSet(flags, key) {
		return "flag"
	}
	if _, ok := env[key]; ok {
		return "env"
	}
	if v.InConfig(key) {
		return "file"
	}
	return "default"
}

func flagSet(flags *pflag.FlagSet, key string) bool {
	set := false
	flags.Visit(func(f *pflag.Flag) { set = set || keyOf(f) == key })
	return set
}

func keyOf(f *pflag.Flag) string {
	if a := f.Annotations[keyAnnotation]; len(a) == 1 {
		return a[0]
	}
	return ""
}

// explain turns the decoder's report about unknown keys into one that says
// what to do.
func explain(err error, file string) error {
	if strings.Contains(err.Error(), "invalid keys") {
		return fmt.Errorf("configuration file %s has keys that nobody knows (a typing error?): %w", file, err)
	}
	return fmt.Errorf("configuration: %w", err)
}
