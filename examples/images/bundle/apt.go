package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// unneeded are packages that others depend on for installing them, or for commands that no image has: they are not fetched.
var unneeded = []string{"debconf", "init-system-helpers", "iproute2", "perl", "adduser", "lsb-base", "sysvinit-utils", "libldap-common", "readline-common"}

// packages fetches Debian packages with an apt of its own, which knows the machine's mirrors and keys, and keeps its state in a
// folder.
type packages struct {
	dir    string
	config string // apt's configuration file
}

// openPackages makes the folder if it is missing.
func openPackages(dir string) (*packages, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing: the images are made from Debian's packages, so make the bundle on Debian or Ubuntu and copy it", tool)
		}
	}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	// Hooks of the machine's own apt are for its own cache. The empty status file means that nothing is installed.
	text := fmt.Sprintf(`#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Dir::State %q;
Dir::State::status %q;
Dir::Cache %q;
Dir::Log %q;
`, filepath.Join(dir, "state"), filepath.Join(dir, "status"), filepath.Join(dir, "cache"), dir)
	p := &packages{dir: dir, config: filepath.Join(dir, "apt.conf")}
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o644); err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.config, []byte(text), 0o644)
}

// apt runs apt-get or apt-cache in the folder and returns what it prints.
func (p *packages) apt(ctx context.Context, program string, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, program, append([]string{"-c=" + p.config, "-q"}, arguments...)...)
	command.Dir = p.dir
	command.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var said bytes.Buffer
	command.Stderr = &said
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(arguments, " "), err, strings.TrimSpace(said.String()))
	}
	return output, nil
}

// fetch returns the files of packages and of all that they depend on. What was fetched before is not fetched again.
func (p *packages) fetch(ctx context.Context, names []string) (*pool, error) {
	lists, err := filepath.Glob(filepath.Join(p.dir, "state/lists/*Packages*"))
	if err != nil {
		return nil, err
	}
	if len(lists) > 0 {
		if pool, err := p.fetchFromLists(ctx, names); err == nil || ctx.Err() != nil {
			return pool, err
		}
		// The lists may be older than what the mirrors have: try with new ones.
	}
	if _, err := p.apt(ctx, "apt-get", "update", "--error-on=any"); err != nil {
		return nil, fmt.Errorf("fetch Debian's package lists: %w\nthe bundle needs a Debian mirror once: see that `apt-get update` works on this machine", err)
	}
	return p.fetchFromLists(ctx, names)
}

func (p *packages) fetchFromLists(ctx context.Context, names []string) (*pool, error) {
	closure, err := p.closure(ctx, names)
	if err != nil {
		return nil, err
	}
	files, err := p.download(ctx, closure)
	if err != nil {
		return nil, err
	}
	pool := newPool()
	for _, file := range files {
		if err := pool.add(ctx, file.name, p.kept(file)); err != nil {
			return nil, err
		}
	}
	return pool, nil
}

// closure returns packages and all that they depend on, by their first alternatives, sorted. Versions are not compared: a mirror
// offers one version of each.
func (p *packages) closure(ctx context.Context, names []string) ([]string, error) {
	var all []string
	for missing := names; len(missing) > 0; {
		output, err := p.apt(ctx, "apt-cache", append([]string{"show", "--no-all-versions"}, missing...)...)
		if err != nil {
			return nil, fmt.Errorf("look up Debian's packages %s: %w", strings.Join(missing, ", "), err)
		}
		all = append(all, missing...)
		var next []string
		for _, name := range dependencies(output) {
			if !slices.Contains(all, name) && !slices.Contains(next, name) && !slices.Contains(unneeded, name) {
				next = append(next, name)
			}
		}
		missing = next
	}
	slices.Sort(all)
	return all, nil
}

// dependencies are the names in the Depends and Pre-Depends fields of what `apt-cache show` prints: of alternatives the first.
func dependencies(output []byte) []string {
	var names []string
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		if field != "Depends" && field != "Pre-Depends" {
			continue
		}
		for dependency := range strings.SplitSeq(value, ",") {
			first, _, _ := strings.Cut(strings.TrimSpace(dependency), " ")
			first, _, _ = strings.Cut(first, ":") // perl:any
			names = append(names, first)
		}
	}
	return names
}

// archive is a package's file.
type archive struct {
	name, path string
	size       int64
}

// kept is where a package's file is kept.
func (p *packages) kept(file archive) string {
	return filepath.Join(p.dir, "cache/archives", file.path)
}

// download fetches the packages that are not there yet. apt checks what it fetches against the signed lists.
func (p *packages) download(ctx context.Context, names []string) ([]archive, error) {
	// apt-get does not name what is in its working directory already: that is why packages are kept elsewhere.
	output, err := p.apt(ctx, "apt-get", append([]string{"download", "--print-uris"}, names...)...)
	if err != nil {
		return nil, fmt.Errorf("look up Debian's packages: %w", err)
	}
	files, err := archives(output)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, file := range files {
		if info, err := os.Stat(p.kept(file)); err != nil || info.Size() != file.size {
			missing = append(missing, file.name)
		}
	}
	if len(missing) == 0 {
		return files, nil
	}
	fmt.Printf("fetching %d Debian packages …\n", len(missing))
	if _, err := p.apt(ctx, "apt-get", append([]string{"download"}, missing...)...); err != nil {
		return nil, fmt.Errorf("fetch Debian's packages %s: %w\nsee that the machine reaches its Debian mirror, then run this again", strings.Join(missing, ", "), err)
	}
	for _, file := range files {
		if slices.Contains(missing, file.name) {
			if err := os.Rename(filepath.Join(p.dir, file.path), p.kept(file)); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// archives reads what `apt-get download --print-uris` prints: 'URI' FILE SIZE HASH.
func archives(output []byte) ([]archive, error) {
	var files []archive
	for line := range strings.Lines(string(output)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "'") {
			continue // chatter
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("apt-get printed no size: %q", line)
		}
		name, _, _ := strings.Cut(fields[1], "_")
		files = append(files, archive{name, fields[1], size})
	}
	if files == nil {
		return nil, errors.New("apt-get names no file for the packages: see that the machine has a Debian mirror in /etc/apt/sources.list")
	}
	return files, nil
}
