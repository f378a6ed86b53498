package target

import "syscall"

// attributes makes the kernel end the child when this process ends, and keeps
// a Ctrl-C at the terminal from reaching it before the run is over.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
