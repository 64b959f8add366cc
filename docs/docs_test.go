// Package docs holds the tests of the documentation: links lead somewhere, commands and flags exist.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/cli"
)

const root = ".."

// page is one Markdown file, by its path from the repository's root.
type page struct{ path, text string }

func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "bin" || name == "testdata" || name == ".git") {
			return filepath.SkipDir
		}
		if filepath.Ext(name) != ".md" {
			return nil
		}
		data, err := os.ReadFile(path)
		relative, _ := filepath.Rel(root, path) // both are relative to here
		all = append(all, page{relative, string(data)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d Markdown files; is the test run in its folder?", len(all))
	}
	return all
}

var (
	link       = regexp.MustCompile(`\[([^][]*)\]\(([^()\s]+)\)`)
	identifier = regexp.MustCompile("^`(?:[a-z]+\\.)?([A-Za-z]+)`$")
	fence      = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	heading    = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	notAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks checks that every relative link leads to a file, or to a heading of one, and that a link from an identifier to a
// Go file leads to its declaration.
func TestLinks(t *testing.T) {
	for _, p := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(fence.ReplaceAllString(p.text, ""), -1) {
			text, target := found[1], found[2]
			if strings.Contains(target, "://") {
				continue
			}
			path, anchor, _ := strings.Cut(target, "#")
			file := filepath.Join(root, filepath.Dir(p.path), path)
			if path == "" {
				file = filepath.Join(root, p.path)
			}
			info, err := os.Stat(file)
			if err != nil {
				t.Errorf("%s: the link %s leads nowhere", p.path, target)
				continue
			}
			if info.IsDir() {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if anchor != "" && !slices.Contains(anchors(string(data)), anchor) {
				t.Errorf("%s: %s has no heading #%s", p.path, file, anchor)
			}
			if name := identifier.FindStringSubmatch(text); name != nil && filepath.Ext(file) == ".go" && !declares(string(data), name[1]) {
				t.Errorf("%s: %s does not declare %s", p.path, file, name[1])
			}
		}
	}
}

// anchors are the names that GitHub gives a page's headings.
func anchors(text string) []string {
	var all []string
	for _, found := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := notAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(found[1])), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

func declares(source, name string) bool {
	declaration := regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |var |const |\t)` + name + `(\(|\[| |$)`)
	return declaration.MatchString(source)
}

var (
	block   = regexp.MustCompile("(?ms)^[ \t]*```(?:sh|console)\n(.*?)^[ \t]*```")
	inline  = regexp.MustCompile("`([^`\n]+)`")
	prompt  = regexp.MustCompile(`^\s*(\$ )?`)
	leaders = regexp.MustCompile(`^(sudo |env [A-Z]+=\S+ |bin/)*`)
	flag    = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// commands are the kubelite command lines that a page shows, in blocks and in running text.
func commands(p page) []string {
	var lines []string
	for _, found := range block.FindAllStringSubmatch(p.text, -1) {
		for line := range strings.Lines(found[1]) {
			if before, _, comment := strings.Cut(line, "  #"); comment {
				line = before
			}
			lines = append(lines, strings.Split(line, "&&")...)
		}
	}
	for _, found := range inline.FindAllStringSubmatch(fence.ReplaceAllString(p.text, ""), -1) {
		lines = append(lines, strings.Split(found[1], "&&")...)
	}
	var all []string
	for _, line := range lines {
		line = leaders.ReplaceAllString(strings.TrimSpace(prompt.ReplaceAllString(line, "")), "")
		line, _, _ = strings.Cut(line, " -- ") // what follows runs elsewhere
		line, _, _ = strings.Cut(line, " | ")
		if rest, ours := strings.CutPrefix(line, "kubelite "); ours && rest != "" && rest[0] >= 'a' && rest[0] <= 'z' {
			all = append(all, rest)
		}
	}
	return all
}

// TestCommands checks that every kubelite command in the documentation exists, with the flags that are shown with it.
func TestCommands(t *testing.T) {
	verbs := help(t)
	texts := map[string]string{}
	count := 0
	for _, p := range pages(t) {
		for _, line := range commands(p) {
			count++
			words := strings.Fields(line)
			verb := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(words[0]) + ` `)
			if !verb.MatchString(verbs) {
				t.Errorf("%s: there is no command `kubelite %s`", p.path, words[0])
				continue
			}
			path := words[:1]
			if len(words) > 1 && (words[0] == "node" || words[0] == "image") {
				path = words[:2]
			}
			key := strings.Join(path, " ")
			if texts[key] == "" {
				texts[key] = help(t, path...)
			}
			for _, name := range flag.FindAllString(line, -1) {
				if !regexp.MustCompile(name + `[= ]`).MatchString(texts[key]) {
					t.Errorf("%s: `kubelite %s` has no flag %s", p.path, key, name)
				}
			}
		}
	}
	if count < 50 {
		t.Errorf("found %d commands in the documentation; are they still recognised?", count)
	}
}

// help is what a command says of itself.
func help(t *testing.T, path ...string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "help"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stdout := os.Stdout // where cobra writes help to
	os.Stdout = file
	code := cli.Main(append(append([]string{"kubelite"}, path...), "--help"), strings.NewReader(""), file, file)
	os.Stdout = stdout
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Fatalf("kubelite %s --help ended with %d: %s", strings.Join(path, " "), code, text)
	}
	return string(text)
}

// TestUpFlags checks that docs/lab.md has a row for each flag of `kubelite up`, and for no other.
func TestUpFlags(t *testing.T) {
	text, err := os.ReadFile("lab.md")
	if err != nil {
		t.Fatal(err)
	}
	collect := func(form, text string) []string {
		var names []string
		for _, found := range regexp.MustCompile(form).FindAllStringSubmatch(text, -1) {
			names = append(names, found[1])
		}
		slices.Sort(names)
		return names
	}
	documented := collect("(?m)^\\| `(--[a-z-]+)`", string(text))
	exist := collect(`(?m)^ +(--[a-z-]+)=`, help(t, "up"))
	if !slices.Equal(documented, exist) {
		t.Errorf("docs/lab.md has %v\n`kubelite up` has %v", documented, exist)
	}
}

// TestPackageDocumentation checks that every doc.go is short, and that the files it sends its reader to are there.
func TestPackageDocumentation(t *testing.T) {
	const longest = 40 // lines
	fileName := regexp.MustCompile(`[a-z_/]+\.go\b`)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "doc.go" {
			return err
		}
		data, err := os.ReadFile(path)
		if lines := strings.Count(string(data), "\n"); lines > longest {
			t.Errorf("%s has %d lines, more than %d", path, lines, longest)
		}
		for _, name := range fileName.FindAllString(string(data), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), name)); err != nil {
				t.Errorf("%s names %s, which is not there", path, name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
