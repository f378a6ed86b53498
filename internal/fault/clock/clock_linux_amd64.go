package clock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Supported says whether this build can move a clock.
const Supported = true

// vdsoBytesMax bounds what is read as the vDSO of a process.
const vdsoBytesMax = 1 << 20

// Jump sets the wall clock of the process to the true time plus offset, in whole
// seconds. The process must not be one that the caller needs running meanwhile:
// it is stopped for some milliseconds.
func Jump(pid int, offset time.Duration) error {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	at, err := function(pid, mem)
	if err != nil {
		return fmt.Errorf("vdso of process %d: %w", pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	err = awaitStopped(pid)
	if err == nil {
		_, err = mem.WriteAt(code(int64(offset/time.Second)), at)
	}
	return errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
}

// code is: ask the kernel; for clock 0, the wall clock, add the offset.
func code(seconds int64) []byte {
	b := []byte{
		0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime; the arguments are in place
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 0x0d, // jnz to the ret
		0x48, 0xb9, // mov rcx, offset
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(seconds))
	return append(b,
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3) // ret
}

// function finds __vdso_clock_gettime in the process.
func function(pid int, mem *os.File) (int64, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	var lo, hi int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			if _, err := fmt.Sscanf(line, "%x-%x", &lo, &hi); err != nil {
				return 0, err
			}
		}
	}
	if hi <= lo || hi-lo > vdsoBytesMax {
		return 0, fmt.Errorf("mapped at %x-%x", lo, hi)
	}
	image := make([]byte, hi-lo)
	if _, err := mem.ReadAt(image, lo); err != nil {
		return 0, err
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return lo + int64(s.Value), nil
		}
	}
	return 0, errors.New("has no __vdso_clock_gettime")
}

// awaitStopped returns when every thread of the process has stopped, so that
// none is half-way through the old code.
func awaitStopped(pid int) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		running, err := runningThreads(pid)
		if err != nil || !running {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not stop", pid)
		}
		time.Sleep(time.Millisecond)
	}
}

func runningThreads(pid int) (bool, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false, err
	}
	for _, t := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name()))
		if err != nil {
			continue // the thread has ended
		}
		if rest := string(b[bytes.LastIndexByte(b, ')')+1:]); !strings.HasPrefix(rest, " T") {
			return true, nil
		}
	}
	return false, nil
}
