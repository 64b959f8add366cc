package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
)

const (
	crashEnv     = "KUBELITE_STORE_CRASH_FILE"
	diskFullEnv  = "KUBELITE_STORE_DISK_FULL_DIR"
	crashWriters = 4
)

// TestMain turns the test binary into the processes that some tests start, and kill.
func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		if err := writeUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	if dir := os.Getenv(diskFullEnv); dir != "" {
		if err := fillDisk(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeUntilKilled has each writer make step after step, and print a step when all of it was acknowledged:
// create "w-n" and its companion, set counter "w" to n, delete "w-(n-1)" and its companion.
func writeUntilKilled(path string) error {
	s, err := Open(path, testOptions())
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	for w := range crashWriters {
		group.Go(func() {
			counter := key(configMaps, "counters", strconv.Itoa(w))
			n := 0
			if item, err := s.Get(counter); err == nil {
				n, _ = strconv.Atoi(value(item))
			}
			for n++; ; n++ {
				revision, err := crashStep(s, counter, w, n)
				mu.Lock()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Println(w, n, revision)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return nil
}

func crashStep(s *Store, counter Key, w, n int) (uint64, error) {
	ctx := context.Background()
	step, before := crashKey(w, n), crashKey(w, n-1)
	if _, err := s.Create(ctx, step, object(step, ""), Companion{beside(step), object(beside(step), "")}); err != nil && !errors.Is(err, ErrExists) {
		return 0, err
	}
	_, err := s.Update(ctx, counter, 0, object(counter, strconv.Itoa(n)))
	if errors.Is(err, ErrNotFound) {
		_, err = s.Create(ctx, counter, object(counter, strconv.Itoa(n)))
	}
	if err != nil {
		return 0, err
	}
	if _, err := s.Delete(ctx, before, 0, Companion{Key: beside(before)}); err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	heartbeat := key(leases, "a", fmt.Sprintf("%d-%d", w, n))
	item, err := s.Create(ctx, heartbeat, object(heartbeat, ""))
	if err != nil {
		return 0, err
	}
	return item.Revision, nil
}

func crashKey(w, n int) Key { return key(configMaps, "steps", fmt.Sprintf("%d-%d", w, n)) }

// beside is the key of a step's companion.
func beside(step Key) Key { return key(configMaps, "companions", step.Name) }

// names are those of all objects of a namespace.
func names(s *Store, namespace string) []string {
	var names []string
	for item := range s.List(configMaps, namespace).All() {
		names = append(names, item.Key.Name)
	}
	return names
}

// TestKillLosesNothingAcknowledged kills a writing process with SIGKILL again and again, and compares what the next one
// finds with what was acknowledged.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	for round := range 12 {
		acknowledged, revision := runAndKill(t, path, 20+round*7)
		s, err := Open(path, testOptions())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if s.Revision() <= revision {
			t.Errorf("round %d: revision went from %d to %d", round, revision, s.Revision())
		}
		if steps, companions := names(s, "steps"), names(s, "companions"); !slices.Equal(steps, companions) {
			t.Errorf("round %d: steps %q have the companions %q", round, steps, companions)
		}
		for w, n := range acknowledged {
			stored, _ := strconv.Atoi(value(must(t)(s.Get(key(configMaps, "counters", strconv.Itoa(w))))))
			if stored != n && stored != n+1 {
				t.Errorf("round %d: counter %d is %d, acknowledged was %d", round, w, stored, n)
			}
			_, current := s.durable.get(crashKey(w, n))
			_, following := s.durable.get(crashKey(w, n+1))
			if !current && !(following && stored == n+1) {
				t.Errorf("round %d: object of step %d-%d is lost", round, w, n)
			}
			if _, err := s.Get(crashKey(w, n-1)); !errors.Is(err, ErrNotFound) {
				t.Errorf("round %d: step %d-%d is back after its deletion: %v", round, w, n-1, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runAndKill returns the last step of each writer that was printed before the process was killed, and the highest
// revision. All output is read, also what was printed while the kill was on its way.
func runAndKill(t *testing.T, path string, steps int) (acknowledged map[int]int, revision uint64) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), crashEnv+"="+path)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged = map[int]int{}
	lines := bufio.NewScanner(output)
	for i := 0; lines.Scan(); i++ {
		var w, n int
		var r uint64
		if _, err := fmt.Sscan(lines.Text(), &w, &n, &r); err != nil {
			continue // the last line may be cut short by the kill
		}
		acknowledged[w], revision = n, max(revision, r)
		if i == steps {
			if err := command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := command.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return acknowledged, revision
}
