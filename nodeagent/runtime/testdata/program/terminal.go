package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

func terminalSize() string {
	var size struct{ rows, columns, x, y uint16 }
	syscall.Syscall(syscall.SYS_IOCTL, os.Stdout.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	return fmt.Sprintf("%dx%d", size.columns, size.rows)
}
