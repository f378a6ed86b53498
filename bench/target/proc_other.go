//go:build !linux

package target

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
