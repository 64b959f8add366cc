package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	cases := []struct {
		name      string
		want, got string
		differs   string // part of the message; empty: they agree
	}{
		{"Pod names and times", "pod/sleep-2-7f69798f94-s92wc condition met", "pod/sleep-2-6c9fdd5b4d-2xkzq condition met", ""},
		{"a table", "NAME  TYPE  CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE\nsleep-2  ClusterIP  10.102.170.140  <none>  80/TCP  1s", "NAME      TYPE        CLUSTER-IP     EXTERNAL-IP   PORT(S)   AGE\nsleep-2   ClusterIP   10.99.1.2   <none>        80/TCP    0s", ""},
		{"an address of another kind", "sleep-2 10.102.170.140", "sleep-2 10.244.0.3", "line 1 differs"},
		{"ping", "64 bytes from 10.244.0.3: seq=0 ttl=64 time=0.066 ms", "64 bytes from 10.244.1.9: seq=0 ttl=64 time=0.102 ms", ""},
		{"another ttl", "64 bytes from 10.244.0.3: seq=0 ttl=64 time=0.066 ms", "64 bytes from 10.244.1.9: seq=0 ttl=62 time=0.102 ms", "line 1 differs"},
		{"anything in a line", "round-trip …", "round-trip min/avg/max = 0.046/0.056/0.066 ms", ""},
		{"any lines", "a\n…\nd", "a\nb\nc\nd", ""},
		{"any last lines", "a\n…", "a\nb\nc", ""},
		{"a missing line", "a\nb", "a", "line 2 is missing"},
		{"one line more", "a", "a\nb", "more output"},
		{"no output shown", "", "whatever", ""},
		{"port-forward's chatter", "a\nb", "a\nHandling connection for 8080\nb", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := compare(strings.Split(c.want, "\n"), strings.Split(c.got, "\n"))
			switch {
			case c.differs == "" && err != nil:
				t.Error(err)
			case c.differs != "" && (err == nil || !strings.Contains(err.Error(), c.differs)):
				t.Errorf("got %v, want it to say %q", err, c.differs)
			}
		})
	}
}

func TestReadSteps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	text := "Text.\n```console\n# why\n$ one \\\n    --more\nout 1\nout 2\n$ two &\n```\n```yaml\n$ none\n```\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	steps, err := readSteps(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || steps[0].command != "one \\\n    --more" || steps[0].comments[0] != "# why" || len(steps[0].want) != 2 || steps[0].line != 4 {
		t.Errorf("got %+v", steps)
	}
	if steps[0].background() || !steps[1].background() {
		t.Error("only the second command goes on in the background")
	}
}

func TestSession(t *testing.T) {
	terminal, err := newSession(t.Context(), t.TempDir(), os.Environ(), &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.close()
	for _, step := range []step{
		{command: "a=1; echo hello", want: []string{"hello"}},
		{command: "echo a is $a", want: []string{"a is 1"}},
		{command: "printf 'no line break'", want: []string{"no line break"}},
		{command: "(read line < <(echo ready); echo $line; exec tail -f /dev/null) &", want: []string{"ready"}},
		{command: "(echo 'command terminated with exit code 3'; exit 3)", want: []string{"command terminated with exit code 3"}},
	} {
		if err := terminal.run(step); err != nil {
			t.Errorf("%s: %v", step.command, err)
		}
	}
	if err := terminal.run(step{command: "false"}); err == nil {
		t.Error("a command that fails is taken for one that does not")
	}
}
