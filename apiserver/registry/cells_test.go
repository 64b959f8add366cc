package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"
)

// TestCells prints the objects of each testdata/cells/RESOURCE.yaml, a list, as `kubectl get -o wide` does.
func TestCells(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	now = func() time.Time { return at }
	defer func() { now = time.Now }()
	inputs, err := filepath.Glob("testdata/cells/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(inputs) != 14 {
		t.Fatalf("%d files, want one a kind", len(inputs))
	}
	kinds := newTable(testConfig())
	for _, input := range inputs {
		resource := strings.TrimSuffix(filepath.Base(input), ".yaml")
		t.Run(resource, func(t *testing.T) {
			data, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			var manifests []any
			if err := yaml.Unmarshal(data, &manifests); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("cells", resource+".golden"), printed(t, kinds, resource, manifests))
		})
	}
}

func printed(t *testing.T, kinds table, resource string, manifests []any) string {
	t.Helper()
	var out strings.Builder
	writer := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	kind := kinds[resource]
	for i, column := range kind.Columns {
		if i > 0 {
			fmt.Fprint(writer, "\t")
		}
		fmt.Fprint(writer, strings.ToUpper(column.Name))
		if column.Priority > 0 {
			fmt.Fprint(writer, "*") // shown by -o wide
		}
	}
	fmt.Fprintln(writer)
	for _, manifest := range manifests {
		for i, cell := range kind.Cells(kinds.decode(t, resource, text(t, manifest))) {
			if i > 0 {
				fmt.Fprint(writer, "\t")
			}
			fmt.Fprint(writer, cell)
		}
		fmt.Fprintln(writer)
	}
	if err := writer.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
