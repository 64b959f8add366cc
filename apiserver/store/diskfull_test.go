package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// fillDisk is TestDiskFull's process: writes until the disk is full, and checks that reads go on, that nothing
// unacknowledged is seen, and that writes go on when there is room again.
func fillDisk(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		return err
	}
	path := filepath.Join(dir, "store.db")
	s, err := Open(path, testOptions())
	if err != nil {
		return err
	}
	acknowledged, err := writeUntilFull(s)
	if err != nil {
		return err
	}
	heartbeat := key(leases, "a", "x")
	if _, err := s.Create(context.Background(), heartbeat, object(heartbeat, "")); err != nil {
		return fmt.Errorf("volatile write on a full disk: %w", err)
	}
	if found := len(s.List(configMaps, "").Items()); found != acknowledged {
		return fmt.Errorf("%d objects are visible, %d were acknowledged", found, acknowledged)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	after := key(configMaps, "a", "after")
	if _, err := s.Create(context.Background(), after, object(after, "")); err != nil {
		return fmt.Errorf("write after there was room again: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = Open(path, testOptions()); err != nil {
		return err
	}
	if found := len(s.List(configMaps, "").Items()); found != acknowledged+1 {
		return fmt.Errorf("%d objects after reopening, %d were acknowledged", found, acknowledged+1)
	}
	if err := s.Close(); err != nil {
		return err
	}
	return openReadOnly(dir, path)
}

func writeUntilFull(s *Store) (acknowledged int, err error) {
	for ; acknowledged < 1000; acknowledged++ {
		k := key(configMaps, "a", fmt.Sprint(acknowledged))
		_, err := s.Create(context.Background(), k, object(k, strings.Repeat("x", 5000)))
		if errors.Is(err, syscall.ENOSPC) && strings.Contains(err.Error(), "no space left on device") {
			return acknowledged, nil
		}
		if err != nil {
			return 0, fmt.Errorf("on a full disk: %w", err)
		}
	}
	return 0, errors.New("the disk did not become full")
}

func openReadOnly(dir, path string) error {
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	s, err := Open(path, testOptions())
	if err == nil {
		return errors.Join(errors.New("opened on a read-only file system"), s.Close())
	}
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "writable file system") {
		return fmt.Errorf("on a read-only file system: %w", err)
	}
	return nil
}
