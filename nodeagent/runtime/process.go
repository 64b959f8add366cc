package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// process is one process for good: its PID may be another's later, with another start time or after another boot.
type process struct {
	PID   int
	Start string // field 22 of /proc/PID/stat: clock ticks since boot
	Boot  string // /proc/sys/kernel/random/boot_id
}

var bootID = sync.OnceValue(func() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // unreadable: every boot looks the same
	return string(bytes.TrimSpace(data))
})

// findProcess is the process that has the PID now.
func findProcess(pid int) (process, error) {
	start, _, err := processStat(pid)
	if err != nil {
		return process{}, fmt.Errorf("find process %d: %w", pid, err)
	}
	return process{PID: pid, Start: start, Boot: bootID()}, nil
}

func processOfFile(path string) (process, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return process{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return process{}, fmt.Errorf("read %s: %w", path, err)
	}
	return findProcess(pid)
}

// processStat returns the start time and the state letter of a process.
func processStat(pid int) (start, state string, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])) // from field 3 on: the name may have blanks
	if len(fields) < 20 {
		return "", "", errors.New("short stat")
	}
	return fields[19], fields[0], nil
}

// alive says whether it still runs; one that has ended but has not been waited for does not.
func (p process) alive() bool {
	if p.PID <= 0 || p.Boot != bootID() {
		return false
	}
	start, state, err := processStat(p.PID)
	return err == nil && start == p.Start && state != "Z" && state != "X"
}

// open returns a pidfd of the process, in the runtime's poller; ErrNotRunning if it has gone.
func (p process) open() (*os.File, error) {
	if p.PID <= 0 {
		return nil, ErrNotRunning
	}
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, ErrNotRunning
	} else if err != nil {
		return nil, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	if !p.alive() { // after opening: it is this process that is held, or none
		file.Close()
		return nil, ErrNotRunning
	}
	return file, nil
}

// wait returns when the process has ended, or with an error when closed is closed or the time is over (0: no limit).
func (p process) wait(limit time.Duration, closed <-chan struct{}) error {
	file, err := p.open()
	if errors.Is(err, ErrNotRunning) {
		return nil
	} else if err != nil {
		return err
	}
	defer file.Close()
	if limit > 0 {
		if err := file.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
	}
	if closed != nil {
		done := make(chan struct{})
		defer close(done)
		go func() {
			select {
			case <-closed:
				_ = file.SetReadDeadline(time.Unix(1, 0)) // fails only if it is closed
			case <-done:
			}
		}()
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		return err == nil && n == 1
	})
}

// signal sends the signal to exactly this process.
func (p process) signal(signal unix.Signal) error {
	file, err := p.open()
	if err != nil {
		return err
	}
	defer file.Close()
	err = unix.PidfdSendSignal(int(file.Fd()), signal, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrNotRunning
	}
	return err
}

// end kills the process and waits until it is gone.
func (p process) end(limit time.Duration) error {
	if err := p.signal(unix.SIGKILL); errors.Is(err, ErrNotRunning) {
		return nil
	} else if err != nil {
		return err
	}
	return p.wait(limit, nil)
}

// belongsTo says whether the process is of the container: in its control group, or its conmon.
func (p process) belongsTo(id string) bool {
	for _, file := range []string{"cgroup", "cmdline"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID, file))
		if err == nil && bytes.Contains(data, []byte(id)) {
			return true
		}
	}
	return false
}
