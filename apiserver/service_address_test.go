package apiserver

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/apiserver/registry"
	"github.com/kubelite/kubelite/apiserver/store"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

func webService(name string, change func(*corev1.ServiceSpec)) *corev1.Service {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
	service.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	if change != nil {
		change(&service.Spec)
	}
	return service
}

func createService(t *testing.T, client kubernetes.Interface, service *corev1.Service) *corev1.Service {
	t.Helper()
	created, err := client.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// addressNames are the names of all IPAddresses but that of the Service "kubernetes".
func addressNames(t *testing.T, client kubernetes.Interface) []string {
	t.Helper()
	list, err := client.NetworkingV1().IPAddresses().List(t.Context(), metav1.ListOptions{LabelSelector: networkingv1.LabelManagedBy + "=ipallocator.k8s.io"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, address := range list.Items {
		if address.Spec.ParentRef.Name != "kubernetes" {
			names = append(names, address.Name)
		}
	}
	return names
}

func equalNames(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestServiceAddresses: IPAddresses come and go with a Service, and with its second family.
func TestServiceAddresses(t *testing.T) {
	server := startServer(t, t.TempDir(), dualStack)
	client := server.client(t, "application/vnd.kubernetes.protobuf")
	services := client.CoreV1().Services("default")
	prefer := corev1.IPFamilyPolicyPreferDualStack
	service := createService(t, client, webService("web", func(spec *corev1.ServiceSpec) { spec.IPFamilyPolicy = &prefer }))
	if len(service.Spec.ClusterIPs) != 2 || !strings.HasPrefix(service.Spec.ClusterIPs[1], "fd00:10:96::") {
		t.Fatalf("ClusterIPs %q", service.Spec.ClusterIPs)
	}
	equalNames(t, "addresses", addressNames(t, client), service.Spec.ClusterIPs)
	patch := func(body string) *corev1.Service {
		t.Helper()
		patched, err := services.Patch(t.Context(), "web", types.MergePatchType, []byte(body), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return patched
	}
	single := patch(`{"spec":{"ipFamilyPolicy":"SingleStack"}}`)
	equalNames(t, "addresses of a single stack", addressNames(t, client), single.Spec.ClusterIPs)
	if len(single.Spec.ClusterIPs) != 1 || single.Spec.ClusterIP != service.Spec.ClusterIP {
		t.Errorf("downgraded to %q", single.Spec.ClusterIPs)
	}
	required := patch(`{"spec":{"ipFamilyPolicy":"RequireDualStack"}}`)
	equalNames(t, "addresses when both are required", addressNames(t, client), required.Spec.ClusterIPs)
	patch(`{"spec":{"type":"ExternalName","externalName":"example.com"}}`)
	equalNames(t, "addresses of an ExternalName", addressNames(t, client), nil)
	again := patch(`{"spec":{"type":"ClusterIP"}}`)
	equalNames(t, "addresses of a ClusterIP", addressNames(t, client), again.Spec.ClusterIPs)
	out, err := server.kubectl(t, "", "get", "ipaddress,servicecidr", "--no-headers")
	if want := "services/default/web"; err != nil || !strings.Contains(out, want) || !strings.Contains(out, "10.96.0.0/16,fd00:10:96::/112") {
		t.Errorf("kubectl: %v\n%s", err, out)
	}
	if err := services.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	equalNames(t, "addresses after the deletion", addressNames(t, client), nil)
}

// TestForeignAddress: an IPAddress that somebody made keeps Services off the address.
func TestForeignAddress(t *testing.T) {
	server := startServer(t, t.TempDir())
	client := server.client(t, "application/json")
	foreign := &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: "10.96.0.77"}}
	foreign.Spec.ParentRef = &networkingv1.ParentReference{Group: "gateway.example.com", Resource: "gateways", Name: "mine"}
	if _, err := client.NetworkingV1().IPAddresses().Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	asking := webService("web", func(spec *corev1.ServiceSpec) { spec.ClusterIP = "10.96.0.77" })
	_, err := client.CoreV1().Services("default").Create(t.Context(), asking, metav1.CreateOptions{})
	if want := "failed to allocate IP 10.96.0.77: provided IP is already allocated"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	if err := client.NetworkingV1().IPAddresses().Delete(t.Context(), "10.96.0.77", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	createService(t, client, asking)
}

// TestServiceCIDRs: a further range gives addresses, and stays while they are used.
func TestServiceCIDRs(t *testing.T) {
	server := startServer(t, t.TempDir())
	client := server.client(t, "application/vnd.kubernetes.protobuf")
	cidrs := client.NetworkingV1().ServiceCIDRs()
	byDefault, err := cidrs.Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil || !meta.IsStatusConditionTrue(byDefault.Status.Conditions, "Ready") || !slices.Contains(byDefault.Finalizers, registry.ServiceCIDRFinalizer) {
		t.Errorf("default: %+v, %v", byDefault, err)
	}
	asking := webService("web", func(spec *corev1.ServiceSpec) { spec.ClusterIP = "192.168.7.9" })
	refused := func() {
		t.Helper()
		_, err := client.CoreV1().Services("default").Create(t.Context(), asking, metav1.CreateOptions{})
		if want := "the provided network does not match the current range"; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
	refused()
	extra := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "extra"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"192.168.7.0/24"}}}
	if _, err := cidrs.Create(t.Context(), extra, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	createService(t, client, asking)
	watcher, err := cidrs.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=extra"})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	if err := cidrs.Delete(t.Context(), "extra", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		event, _ := nextEvent(t, watcher)
		ready := meta.FindStatusCondition(event.Object.(*networkingv1.ServiceCIDR).Status.Conditions, "Ready")
		if ready.Status == metav1.ConditionFalse {
			if ready.Reason != "Terminating" || !strings.HasPrefix(ready.Message, "There are still IPAddresses referencing the ServiceCIDR") {
				t.Errorf("condition %+v", ready)
			}
			break
		}
	}
	asking.Name = "second"
	asking.Spec.ClusterIP = "192.168.7.10"
	refused()
	if err := client.CoreV1().Services("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, what := nextEvent(t, watcher); what != "DELETED extra"; _, what = nextEvent(t, watcher) {
		t.Log("before it goes:", what)
	}
}

// TestAddressRepair: what a crash between two writes, an old file or a user can leave is put right at the next start.
func TestAddressRepair(t *testing.T) {
	dir := t.TempDir()
	server := startServer(t, dir)
	client := server.client(t, "application/json")
	for name, ip := range map[string]string{"lost": "10.96.0.11", "twin": "10.96.0.12", "stolen": "10.96.0.13", "out": "10.96.0.14"} {
		createService(t, client, webService(name, func(spec *corev1.ServiceSpec) {
			spec.Type = corev1.ServiceTypeNodePort
			spec.ClusterIP = ip
			if name == "twin" {
				spec.Ports[0].NodePort = 30099
			}
		}))
	}
	server.stop()
	changeStored(t, dir, func(data *store.Store) { damageAddresses(t, data) })
	server = startServer(t, dir)
	client = server.client(t, "application/json")
	equalNames(t, "addresses", addressNames(t, client), []string{"10.96.0.11", "10.96.0.12", "10.96.0.13", "10.96.0.14"})
	for ip, parent := range map[string]string{"10.96.0.11": "lost", "10.96.0.12": "twin", "10.96.0.13": "stolen"} {
		address, err := client.NetworkingV1().IPAddresses().Get(t.Context(), ip, metav1.GetOptions{})
		if err != nil || address.Spec.ParentRef.Name != parent {
			t.Errorf("%s: %+v, %v", ip, address.Spec.ParentRef, err)
		}
	}
	events, err := client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, event := range events.Items {
		said = append(said, event.InvolvedObject.Name+": "+event.Reason+": "+event.Message)
	}
	equalNames(t, "events", said, []string{
		"10.96.0.98: IPAddressWrongReference: IPAddress: 10.96.0.98 for Service default/lost has a wrong reference; cleaning up",
		"10.96.0.99: IPAddressNotAllocated: IPAddress: 10.96.0.99 for Service default/never appears to have leaked: cleaning up",
		"fd00::99: IPAddressNotAllocated: IPAddress: fd00::99 for Service default/never appears to have leaked: cleaning up",
		"far: ClusterIPOutOfRange: Cluster IP [IPv4]: 172.16.0.1 is not within any configured Service CIDR; please recreate service",
		"far: PortOutOfRange: Port 80 is not within the port range 30000-32767; please recreate service",
		"lost: ClusterIPNotAllocated: Cluster IP [IPv4]: 10.96.0.11 is not allocated; repairing",
		"second: ClusterIPAlreadyAllocated: Cluster IP [IPv4]:10.96.0.12 was assigned to multiple services; please recreate service",
		"stolen: ClusterIPNotAllocated: the ClusterIP [IPv4]: 10.96.0.13 for Service default/stolen has a wrong reference; repairing",
		"twin: PortAlreadyAllocated: Port 30099 was assigned to multiple services; please recreate service",
	})
	// Nor does the second Service take the first one's address away when it goes.
	if err := client.CoreV1().Services("default").Delete(t.Context(), "second", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	equalNames(t, "addresses", addressNames(t, client), []string{"10.96.0.11", "10.96.0.12", "10.96.0.13", "10.96.0.14"})
}

// TestAddressesInOtherWords: fd00:10:96:0::15, which an older or another server may have written, is fd00:10:96::15.
func TestAddressesInOtherWords(t *testing.T) {
	dir := t.TempDir()
	server := startServer(t, dir, dualStack)
	client := server.client(t, "application/json")
	createService(t, client, webService("web", func(spec *corev1.ServiceSpec) {
		spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
		spec.ClusterIP = "fd00:10:96::15"
	}))
	addresses := client.NetworkingV1().IPAddresses()
	before, err := addresses.Get(t.Context(), "fd00:10:96::15", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server.stop()
	changeStored(t, dir, func(data *store.Store) {
		key := store.Key{Resource: services, Namespace: "default", Name: "web"}
		item, err := data.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		service := item.Object.DeepCopyObject().(*corev1.Service)
		service.Spec.ClusterIP, service.Spec.ClusterIPs = "fd00:10:96:0::15", []string{"fd00:10:96:0::15"}
		if _, err := data.Update(t.Context(), key, 0, service); err != nil {
			t.Fatal(err)
		}
	})
	client = startServer(t, dir, dualStack).client(t, "application/json")
	after, err := client.NetworkingV1().IPAddresses().Get(t.Context(), "fd00:10:96::15", metav1.GetOptions{})
	if err != nil || after.UID != before.UID {
		t.Errorf("the IPAddress was made anew: %v", err)
	}
	events, err := client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(events.Items) > 0 {
		t.Errorf("events %v, %v", events, err)
	}
}

// TestAddressDeletedByHand: an IPAddress that is deleted under a Service comes back.
func TestAddressDeletedByHand(t *testing.T) {
	server := startServer(t, t.TempDir())
	client := server.client(t, "application/json")
	service := createService(t, client, webService("web", nil))
	addresses := client.NetworkingV1().IPAddresses()
	watcher, err := addresses.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + service.Spec.ClusterIP})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	if err := addresses.Delete(t.Context(), service.Spec.ClusterIP, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ADDED ", "DELETED ", "ADDED "} {
		if _, what := nextEvent(t, watcher); what != want+service.Spec.ClusterIP {
			t.Errorf("event %q, want %q", what, want)
		}
	}
}

// changeStored changes the stored objects of a server that is not running.
func changeStored(t *testing.T, dir string, change func(data *store.Store)) {
	t.Helper()
	data, err := store.Open(filepath.Join(dir, "kubelite.db"), store.Options{Codec: store.NewCodec(registry.Scheme)})
	if err != nil {
		t.Fatal(err)
	}
	change(data)
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
}

// damageAddresses leaves of the addresses what TestAddressRepair finds.
func damageAddresses(t *testing.T, data *store.Store) {
	t.Helper()
	must := func(_ *store.Item, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	service := func(name string) *corev1.Service {
		item, err := data.Get(store.Key{Resource: services, Namespace: "default", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return item.Object.DeepCopyObject().(*corev1.Service)
	}
	address := func(name string) store.Key { return store.Key{Resource: ipAddresses, Name: name} }
	copyOf := func(name, as string, change func(*corev1.Service)) {
		other := service(name)
		other.Name = as
		change(other)
		must(data.Create(t.Context(), store.Key{Resource: services, Namespace: "default", Name: as}, other))
	}
	leak := func(ip, parent string) {
		leaked := registry.ServiceIPAddress(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: parent}}, netip.MustParseAddr(ip))
		must(data.Create(t.Context(), address(ip), leaked))
	}
	must(data.Delete(t.Context(), address("10.96.0.11"), 0))
	must(data.Delete(t.Context(), address("10.96.0.13"), 0))
	leak("10.96.0.13", "lost")
	leak("10.96.0.99", "never")
	leak("fd00::99", "never")
	leak("10.96.0.98", "lost")
	copyOf("twin", "second", func(*corev1.Service) {})
	copyOf("out", "far", func(far *corev1.Service) {
		far.Spec.ClusterIP, far.Spec.ClusterIPs = "172.16.0.1", []string{"172.16.0.1"}
		far.Spec.Ports[0].NodePort = 80
	})
}
