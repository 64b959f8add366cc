package apiserver

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// do sends a request as the administrator.
func (s *testServer) do(t *testing.T, method, path, body string, header map[string]string) *http.Response {
	t.Helper()
	client, err := rest.HTTPClientFor(s.config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, s.config.Host+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestRefusals(t *testing.T) {
	server := startServer(t, t.TempDir())
	const maps = "/api/v1/namespaces/default/configmaps"
	yaml := map[string]string{"Content-Type": "application/yaml"}
	for _, test := range []struct {
		name, method, path, body string
		header                   map[string]string
		code                     int
		message                  string
	}{
		{"unknown media type", "POST", maps, "{}", map[string]string{"Content-Type": "text/plain"}, 415,
			"the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{"not acceptable", "GET", maps, "", map[string]string{"Accept": "text/html"}, 406,
			"only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{"wrong version", "POST", maps, "apiVersion: apps/v1\nkind: Deployment\n", yaml, 400,
			"the API version in the data (apps/v1) does not match the expected API version (v1)"},
		{"wrong type", "POST", maps, `{"apiVersion":"v1","kind":"ConfigMap","data":[1]}`, nil, 400,
			`ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string`},
		{"unknown field", "POST", maps + "?fieldValidation=Strict", "apiVersion: v1\nkind: ConfigMap\nfoo: 1\n", yaml, 400,
			`ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "foo"`},
		{"no name", "POST", maps, "{}", nil, 422, `ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required`},
		{"other namespace", "POST", maps, `{"metadata":{"name":"a","namespace":"b"}}`, nil, 400,
			"the namespace of the provided object does not match the namespace sent on the request"},
		{"other name", "PUT", maps + "/a", `{"metadata":{"name":"b"}}`, nil, 400,
			"the name of the object (b) does not match the name on the URL (a)"},
		{"missing", "PUT", maps + "/a", `{"metadata":{"name":"a"}}`, nil, 404, `configmaps "a" not found`},
		{"no such method", "POST", "/api/v1/configmaps", "{}", nil, 405, "the server does not allow this method on the requested resource"},
		{"bad selector", "GET", maps + "?labelSelector=a%3D%3D%3Db", "", nil, 400,
			"unable to parse requirement: found '=', expected: identifier"},
		{"unknown field label", "GET", maps + "?fieldSelector=data.x%3D1", "", nil, 400,
			`"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"`},
		{"future", "GET", maps + "?resourceVersion=99999999999", "", nil, 504, "Too large resource version"},
		{"match without version", "GET", maps + "?resourceVersionMatch=Exact", "", nil, 422,
			"resourceVersionMatch is forbidden unless resourceVersion is provided"},
		{"dry run of what", "POST", maps + "?dryRun=Some", `{"metadata":{"name":"a"}}`, nil, 422, `dryRun: Unsupported value: ["Some"]: supported values: "All"`},
		{"unknown patch", "PATCH", "/api/v1/namespaces/default/services/kubernetes", "{}", nil, 415,
			"application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"},
		{"too large", "POST", maps, `{"metadata":{"name":"` + strings.Repeat("a", bodyLimit) + `"}}`, nil, 413, "limit is 3145728"},
		{"continue", "GET", maps + "?continue=!", "", nil, 400, "continue key is not valid"},
		{"short token", "POST", "/api/v1/namespaces/default/serviceaccounts/none/token", "{}", nil, 404, `serviceaccounts "none" not found`},
	} {
		t.Run(test.name, func(t *testing.T) {
			response := server.do(t, test.method, test.path, test.body, test.header)
			var status metav1.Status
			if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.code || !strings.Contains(status.Message, test.message) {
				t.Errorf("got %d %q", response.StatusCode, status.Message)
			}
			if status.Kind != "Status" || status.APIVersion != "v1" || int(status.Code) != test.code || status.Reason == "" {
				t.Errorf("got %+v", status)
			}
		})
	}
}

// TestHostilePatches: 40 operations that each double a value would make a terabyte, and one without a value a panic.
func TestHostilePatches(t *testing.T) {
	server := startServer(t, t.TempDir())
	const maps = "/api/v1/namespaces/default/configmaps"
	body := `{"metadata":{"name":"one"},"data":{"k":"v"}}`
	if code := server.do(t, "POST", maps, body, nil).StatusCode; code != http.StatusCreated {
		t.Fatal(code)
	}
	operations := []string{`{"op":"add","path":"/x","value":["b"]}`}
	for range 40 {
		operations = append(operations, `{"op":"copy","from":"/x","path":"/x/-"}`)
	}
	patch := "[" + strings.Join(operations, ",") + "]"
	response := server.do(t, "PATCH", maps+"/one", patch, map[string]string{"Content-Type": "application/json-patch+json"})
	if response.StatusCode != http.StatusUnprocessableEntity {
		t.Error(response.Status)
	}
	patch = `[{"op":"replace","path":""}]`
	response = server.do(t, "PATCH", maps+"/one", patch, map[string]string{"Content-Type": "application/json-patch+json"})
	if response.StatusCode != http.StatusBadRequest {
		t.Error(response.Status)
	}
}

func TestWarnings(t *testing.T) {
	server := startServer(t, t.TempDir())
	response := server.do(t, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"a"},"foo":1,"foo":2}`, nil)
	got := strings.Join(response.Header.Values("Warning"), "\n")
	if response.StatusCode != 201 || got != "299 - \"unknown field \\\"foo\\\"\"\n299 - \"duplicate field \\\"foo\\\"\"" && got != "299 - \"unknown field \\\"foo\\\"\"" {
		t.Errorf("%s\n%s", response.Status, got)
	}
}

func TestTables(t *testing.T) {
	server := startServer(t, t.TempDir())
	table := map[string]string{"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
	response := server.do(t, "GET", "/api/v1/namespaces?watch=1&resourceVersion=0&timeoutSeconds=1", "", table)
	lines := bufio.NewScanner(response.Body)
	var events []metav1.WatchEvent
	var tables []metav1.Table
	for lines.Scan() {
		var event metav1.WatchEvent
		var content metav1.Table
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(event.Object.Raw, &content); err != nil {
			t.Fatal(err)
		}
		events, tables = append(events, event), append(tables, content)
	}
	if len(events) != 4 || events[0].Type != "ADDED" || tables[0].Rows[0].Cells[0] != "default" {
		t.Fatalf("%v", events)
	}
	if len(tables[0].ColumnDefinitions) == 0 || len(tables[1].ColumnDefinitions) != 0 {
		t.Error("columns are described with the first event only")
	}
	response = server.do(t, "GET", "/api/v1/namespaces/default?includeObject=Object", "", table)
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(body), `"object":{"kind":"Namespace"`) {
		t.Errorf("%s %v", body, err)
	}
}

func TestListsLeaveOutItemsKinds(t *testing.T) {
	server := startServer(t, t.TempDir())
	response := server.do(t, "GET", "/api/v1/namespaces?limit=1", "", map[string]string{"Accept": "application/json", "User-Agent": "test"})
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	if !strings.HasPrefix(text, `{"kind":"NamespaceList","apiVersion":"v1","metadata":{`) || !strings.Contains(text, `"items":[{"metadata":{"name":"default"`) {
		t.Error(text)
	}
	if !strings.Contains(text, `"remainingItemCount":3`) {
		t.Errorf("no remainingItemCount: %s", text)
	}
}

func TestAggregatedDiscovery(t *testing.T) {
	server := startServer(t, t.TempDir())
	accept := map[string]string{"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"}
	response := server.do(t, "GET", "/apis", "", accept)
	if got := response.Header.Get("Content-Type"); got != "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" {
		t.Error(got)
	}
	accept["If-None-Match"] = response.Header.Get("ETag")
	if again := server.do(t, "GET", "/apis", "", accept); again.StatusCode != http.StatusNotModified {
		t.Error(again.Status)
	}
	if plain := server.do(t, "GET", "/apis", "", nil); plain.Header.Get("Content-Type") != "application/json" {
		t.Error(plain.Header)
	}
}

func TestRestartKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	server := startServer(t, dir)
	before, err := server.client(t, "application/json").CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server.stop()
	server = startServer(t, dir)
	after, err := server.client(t, "application/json").CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil || after.ResourceVersion != before.ResourceVersion || after.UID != before.UID {
		t.Errorf("before %+v\nafter %+v, %v", before.ObjectMeta, after.ObjectMeta, err)
	}
}

func TestTakenPort(t *testing.T) {
	server := startServer(t, t.TempDir())
	address := server.Addresses()[0].String()
	_, err := New(Config{DataDir: t.TempDir(), Listen: []Address{{Address: address}}})
	if err == nil || !strings.Contains(err.Error(), "listen on "+address+": the port is taken") {
		t.Error(err)
	}
}

func TestLoopbackIsNotAdvertised(t *testing.T) {
	server, err := New(Config{DataDir: t.TempDir(), AdvertiseAddress: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if endpoints := server.kubernetesEndpoints(); len(endpoints.Subsets) != 0 {
		t.Error(endpoints.Subsets)
	}
}
