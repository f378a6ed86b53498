package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var durationType = reflect.TypeFor[time.Duration]()

// wholeMax is the largest magnitude up to which every whole number has a float of
// its own.
const wholeMax = 1 << 53

// strict turns a value of the file or the environment into the type of its setting,
// and refuses what the decoder would bend: 15 into 15 ns, 2.5 into 2, nothing into
// 0, 007 into "7". The decoder puts the key before the error.
func strict(from, to reflect.Type, data any) (any, error) {
	text, isText := data.(string)
	switch {
	case to == durationType:
		return duration(from, data)
	case isText && text == "" && to.Kind() != reflect.String && to.Kind() != reflect.Slice:
		return nil, errors.New("the value is empty: give one, or leave the setting out")
	case to.Kind() == reflect.Int || to.Kind() == reflect.Int64:
		return whole(data)
	case to.Kind() == reflect.Bool && !isText && from.Kind() != reflect.Bool:
		return nil, fmt.Errorf("%v is neither true nor false", data)
	case to.Kind() == reflect.String && !isText:
		// Without the value: it may be a secret.
		return nil, fmt.Errorf("want text and not a value of type %v: write it in quotes", from)
	case isText && to.Kind() == reflect.Slice:
		if text == "" {
			return []string{}, nil
		}
		return strings.Split(text, ","), nil
	}
	return data, nil
}

func duration(from reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	switch {
	case from == durationType:
		return data, nil
	case ok && text == "":
		return nil, errors.New("the value is empty: give a duration as 15s, or leave the setting out")
	case ok:
		if d, err := time.ParseDuration(text); err == nil && text != "0" {
			return d, nil
		}
	}
	return nil, fmt.Errorf("%v is no duration with a unit, as 15s or 500ms", data)
}

func whole(data any) (any, error) {
	switch n := data.(type) {
	case float64:
		if n == math.Trunc(n) && math.Abs(n) <= wholeMax {
			return int64(n), nil
		}
	case string:
		if i, err := strconv.ParseInt(n, 10, 64); err == nil {
			return i, nil
		}
	case uint64: // YAML's, when an int cannot hold it; the decoder would wrap it
		if n <= math.MaxInt64 {
			return int64(n), nil
		}
	case int, int64:
		return data, nil
	}
	return nil, fmt.Errorf("%v is no whole number", data)
}
