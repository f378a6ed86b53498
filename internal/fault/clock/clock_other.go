//go:build !linux || !amd64

package clock

import (
	"errors"
	"time"
)

// Supported says whether this build can move a clock.
const Supported = false

// Jump is not possible here.
func Jump(int, time.Duration) error {
	return errors.New("moving a process's clock needs linux on amd64")
}
