package dns

import (
	"flag"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var rewriteGolden = flag.Bool("update", false, "write the golden files anew")

func TestObjects(t *testing.T) {
	var documents []string
	for _, object := range Objects(ManifestConfig{Image: "kubelite/kubelite:test", ClusterIP: "10.96.0.10", ClusterDomain: "cluster.local", Upstreams: []string{"192.168.1.1"}}) {
		text, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, string(text))
	}
	actual := strings.Join(documents, "---\n")
	const path = "testdata/objects.yaml"
	if *rewriteGolden {
		if err := os.WriteFile(path, []byte(actual), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expected, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if actual != string(expected) {
		t.Errorf("not what %s holds (run with -update and look at the difference):\n%s", path, actual)
	}
}
