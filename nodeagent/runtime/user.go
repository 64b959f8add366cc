package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// lookupUser finds "", "uid", "uid:gid", "name" or "name:group" in the /etc/passwd and /etc/group below root. Supplementary groups are
// those that list the user, if no group is named, and extra. A number needs no entry, a name does.
func lookupUser(root, user string, extra []uint32) (specs.User, error) {
	name, group, hasGroup := strings.Cut(user, ":")
	if name == "" {
		name = "0"
	}
	found := specs.User{}
	userName := ""
	uid, notNumber := strconv.ParseUint(name, 10, 31)
	err := scanAccounts(root, "etc/passwd", 4, func(fields []string) bool {
		if fields[0] != name && (notNumber != nil || fields[2] != strconv.FormatUint(uid, 10)) {
			return false
		}
		entryUID, err1 := strconv.ParseUint(fields[2], 10, 32)
		entryGID, err2 := strconv.ParseUint(fields[3], 10, 32)
		if err1 != nil || err2 != nil {
			return false
		}
		userName, found.UID, found.GID = fields[0], uint32(entryUID), uint32(entryGID)
		return true
	})
	if err != nil {
		return found, fmt.Errorf("look up user %q: %w", user, err)
	}
	if userName == "" {
		if notNumber != nil {
			return found, fmt.Errorf("unable to find user %s: no matching entries in passwd file", name)
		}
		found.UID = uint32(uid)
	}
	groupID, groupNotNumber := strconv.ParseUint(group, 10, 31)
	groupFound := !hasGroup
	if hasGroup && groupNotNumber == nil {
		found.GID, groupFound = uint32(groupID), true
	}
	err = scanAccounts(root, "etc/group", 4, func(fields []string) bool {
		gid, err := strconv.ParseUint(fields[2], 10, 32)
		switch {
		case err != nil:
		case hasGroup && !groupFound && fields[0] == group:
			found.GID, groupFound = uint32(gid), true
		case !hasGroup && userName != "" && slices.Contains(strings.Split(fields[3], ","), userName):
			found.AdditionalGids = append(found.AdditionalGids, uint32(gid))
		}
		return false
	})
	if err != nil {
		return found, fmt.Errorf("look up group of user %q: %w", user, err)
	}
	if !groupFound {
		return found, fmt.Errorf("unable to find group %s: no matching entries in group file", group)
	}
	found.AdditionalGids = append(append(found.AdditionalGids, extra...), found.GID)
	slices.Sort(found.AdditionalGids)
	found.AdditionalGids = slices.Compact(found.AdditionalGids)
	return found, nil
}

// scanAccounts calls visit with the fields of each line of a file of the image until it returns true. No file: no lines. Links in the
// image lead to the image's own files, never to the machine's.
func scanAccounts(root, path string, fields int, visit func([]string) bool) error {
	folder, err := os.Open(root)
	if err != nil {
		return err
	}
	defer folder.Close()
	fd, err := unix.Openat2(int(folder.Fd()), path, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	} else if err != nil {
		return &os.PathError{Op: "open", Path: "/" + path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	const limit = 1 << 20 // bytes: an image may hold anything
	lines := bufio.NewScanner(io.LimitReader(file, limit))
	for lines.Scan() {
		line := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(line) >= fields && !strings.HasPrefix(line[0], "#") && visit(line) {
			return nil
		}
	}
	return lines.Err()
}
