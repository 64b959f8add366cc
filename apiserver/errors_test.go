package apiserver

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestStatusOfStorageFaults(t *testing.T) {
	tests := []struct {
		err  error
		code int32
		want string
	}{
		{fmt.Errorf("create: %w", fmt.Errorf("write: %w", syscall.ENOSPC)), 507, "the disk that holds the cluster's state is full; make room on it"},
		{syscall.EDQUOT, 507, "is full"},
		{syscall.EROFS, 507, "is read-only; remount it writable"},
		{syscall.EIO, 507, "cannot be written"},
		{errors.New("anything else"), 500, "Internal error occurred: anything else"},
	}
	for _, test := range tests {
		status := statusOf(test.err)
		if status.Code != test.code || !strings.Contains(status.Message, test.want) || !strings.Contains(status.Message, errors.Unwrap(fmt.Errorf("%w", test.err)).Error()) {
			t.Errorf("%v: %d %q", test.err, status.Code, status.Message)
		}
	}
}
