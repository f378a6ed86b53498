package clustertest

import "syscall"

// procAttr makes a node end with the test process, however that ends.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
