package nodetest

import (
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

const terminate = syscall.SIGTERM

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
