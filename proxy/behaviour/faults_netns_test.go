package behaviour

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubelite/kubelite/proxy"
)

// faultLab is a lab with an API server, the steady Services, and others that change.
type faultLab struct {
	*lab
	*api
	testing.TB
	all []shape
	// others says which other Services changeOthers has made, and random which it changes next.
	others map[int]bool
	random *rand.Rand
}

var faultProtocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}

func newFaultLab(t testing.TB) *faultLab {
	l := newLab(t)
	l.serveEverywhere(faultProtocols)
	l.serveEchoes(pod1a, pod2a)
	f := &faultLab{lab: l, api: newAPI(t), TB: t, all: steady(), others: map[int]bool{}, random: rand.New(rand.NewPCG(1, 1))}
	for i, shape := range f.all {
		service := shape.service(i, faultProtocols, families)
		echo := corev1.ServicePort{Name: "echo", Protocol: corev1.ProtocolTCP, Port: echoPort}
		if shape.kind != corev1.ServiceTypeClusterIP {
			echo.NodePort = int32(nodePortOf(i) + 100)
		}
		service.Spec.Ports = append(service.Spec.Ports, echo)
		slices := shape.endpointSlices(faultProtocols)
		for _, slice := range slices {
			slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
				Name: ptr.To("echo"), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To[int32](echoPort)})
		}
		if err := f.create(t.Context(), service, slices...); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// hammered are the steady Services from the places whose connections node-1 decides.
func (f *faultLab) hammered() []hammered {
	var all []hammered
	for i, shape := range f.all {
		for _, client := range []place{pod1b, node1, laptop} {
			for _, family := range families {
				way := shape.ways(client, family)[1]
				if client != laptop {
					way = clusterIP
				}
				target := hammered{testCase: testCase{shape, faultProtocols[i%2], family, client, way}}
				target.target = target.testCase.target(i)
				target.echo = netip.AddrPortFrom(target.target.Addr(), echoPort)
				if way == nodePortOwn {
					target.echo = netip.AddrPortFrom(target.target.Addr(), target.target.Port()+100)
				}
				all = append(all, target)
			}
		}
	}
	return all
}

// startProxies starts the proxies of both nodes, waits until all steady Services answer, and returns node-1's.
func (f *faultLab) startProxies(v variant) *proxyProcess {
	f.TB.Helper()
	all := []*proxyProcess{f.startProxy(f.api, v, node2), f.startProxy(f.api, v, node1)}
	for _, p := range all {
		// Nobody calls before: an attempt that nothing translates stays in the list of connections for two minutes, and whoever calls
		// from the same port again is not translated, either.
		p.waitForLog("programmed all Services", len(families))
	}
	f.served()
	return all[1]
}

// served waits until all steady Services answer.
func (f *faultLab) served() {
	f.TB.Helper()
	for _, target := range f.hammered() {
		f.eventually(target.client, func() error {
			got, err := call(target.protocol, target.target, slowly(impatience))
			if err == nil && got.outcome != answered {
				err = fmt.Errorf("%s: %s", target, got)
			}
			return err
		})
	}
}

// changeOthers changes other Services at random until the returned function is called. It may be called again after that.
func (f *faultLab) changeOthers() (stop func()) {
	stopped, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		ctx, all := context.Background(), shapes()
		for stopped.Err() == nil {
			i := len(f.all) + f.random.IntN(60)
			service, slices := named("other-"+all[i].name(), all[i].service(i, faultProtocols, families), all[i].endpointSlices(faultProtocols))
			change := func() error { return f.create(ctx, service, slices...) }
			if f.others[i] {
				change = func() error { return f.delete(ctx, service, slices) }
			}
			f.others[i] = !f.others[i]
			if err := change(); err != nil {
				done <- err
				return
			}
			time.Sleep(10 * time.Millisecond) // the load is bounded
		}
		done <- nil
	}()
	return func() {
		f.TB.Helper()
		cancel()
		if err := <-done; err != nil {
			f.TB.Error(err)
		}
	}
}

func (f *faultLab) delete(ctx context.Context, service *corev1.Service, slices []*discoveryv1.EndpointSlice) error {
	for _, slice := range slices {
		if err := f.DiscoveryV1().EndpointSlices(slice.Namespace).Delete(ctx, slice.Name, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("delete EndpointSlice %s: %w", slice.Name, err)
		}
	}
	if err := f.CoreV1().Services(service.Namespace).Delete(ctx, service.Name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete Service %s: %w", service.Name, err)
	}
	return nil
}

// eachKernelMode runs the test in the modes whose rules outlive their proxy. In mode userspace the proxy's process holds
// the connections, so that they end with it.
func eachKernelMode(t *testing.T, test func(*testing.T, variant)) {
	for _, v := range variants {
		if v.mode == proxy.Userspace {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			v.require(t)
			test(t, v)
		})
	}
}

// kills is how often the proxy is killed.
var kills = max(5, 50/slowness)

func TestNetnsKilledProxyLosesNothing(t *testing.T) {
	eachKernelMode(t, func(t *testing.T, v variant) {
		f := newFaultLab(t)
		p := f.startProxies(v)
		hammer := f.startHammer(f.hammered())
		stop := f.changeOthers()
		p.kill()
		// How long a start takes until all is programmed decides at which points it is killed.
		started := time.Now()
		p = f.startProxy(f.api, v, node1)
		p.waitForLog("programmed all Services", len(families))
		whole := time.Since(started)
		random := rand.New(rand.NewPCG(2, 2))
		for range kills {
			p.kill()
			p = f.startProxy(f.api, v, node1)
			time.Sleep(time.Duration(random.Int64N(int64(3 * whole / 2)))) // a point of its start, or of the changes after it
		}
		p.kill()
		stop()
		p = f.startProxy(f.api, v, node1)
		p.waitForLog("programmed all Services", len(families))
		f.served()
		hammer.stop()
		t.Logf("%d kills within %s of a start; %d connections and %d answers on %d open ones, none lost",
			kills+2, (3 * whole / 2).Round(time.Millisecond), hammer.made.Load(), hammer.echoes.Load(), len(f.hammered()))
	})
}

// waitForLog waits until the proxy has written the text n times.
func (p *proxyProcess) waitForLog(text string, n int) {
	p.Helper()
	deadline := time.Now().Add(slowly(time.Minute))
	for strings.Count(p.log.String(), text) < n {
		if time.Now().After(deadline) {
			p.Fatalf("the proxy did not write %q %d times in time:\n%s", text, n, p.log)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestNetnsEditedRulesAreMended(t *testing.T) {
	edits := map[proxy.Mode][][]string{
		proxy.IPTables: {
			{"iptables", "-t", "nat", "-F", "KUBE-SERVICES"},
			{"iptables", "-t", "nat", "-F"},
			{"iptables", "-t", "nat", "-D", "PREROUTING", "1"},
			{"ip6tables", "-t", "nat", "-F", "KUBE-SERVICES"},
		},
		proxy.NFTables: {
			{"nft", "flush", "table", "ip", "kubelite"},
			{"nft", "delete", "table", "ip", "kubelite"},
			{"nft", "delete", "table", "ip6", "kubelite"},
			{"nft", "flush", "ruleset"},
		},
		proxy.IPVS: {
			{"iptables", "-t", "nat", "-F", "KUBE-IPVS-SERVICES"},
			{"ip6tables", "-t", "nat", "-F", "KUBE-IPVS-SERVICES"},
			{"ipset", "flush", "KUBE-CLUSTER-IP"},
			{"ipvsadm", "--clear"},
			{"ip", "link", "delete", "kube-ipvs0"},
		},
	}
	eachKernelMode(t, func(t *testing.T, v variant) {
		f := newFaultLab(t)
		p := f.startProxies(v)
		for _, edit := range edits[v.mode] {
			found := strings.Count(p.log.String(), "someone else changed the rules")
			f.run(node1, v.program(t, edit[0]), edit[1:]...)
			edited := time.Now()
			p.waitForLog("someone else changed the rules", found+1)
			noticed := time.Since(edited)
			f.served()
			log := p.log.String()
			_, said, _ := strings.Cut(log[strings.LastIndex(log, "someone else changed the rules"):], "found=")
			said, _, _ = strings.Cut(said, "\n")
			if strings.Trim(said, `"`) == "" {
				t.Errorf("%s: the log does not say what was found: %s", strings.Join(edit, " "), log)
			}
			t.Logf("%s: noticed after %s, mended after %s; found %s", strings.Join(edit, " "),
				noticed.Round(time.Millisecond), time.Since(edited).Round(time.Millisecond), said)
		}
	})
}

func TestNetnsAPIServerGone(t *testing.T) {
	eachKernelMode(t, func(t *testing.T, v variant) {
		f := newFaultLab(t)
		f.startProxies(v)
		hammer := f.startHammer(f.hammered())
		f.api.stop()
		made := hammer.made.Load()
		for deadline := time.Now().Add(slowly(time.Minute)); hammer.made.Load() < made+500 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		f.api.start()
		f.waitForProxies(f.api, faultProtocols) // with a Service that is new
		hammer.stop()
	})
}

// Every mode is entered and left, but for ipvs, which comes last: nothing else in the kernel can continue IPVS's connections.
func TestNetnsSwitchedModesLoseNothing(t *testing.T) {
	f := newFaultLab(t)
	var order, last []variant
	for _, v := range variants {
		switch {
		case v.mode == proxy.Userspace: // whose connections end with it
		case v.mode != proxy.IPVS:
			order = append(order, v)
		case v.missing() == "":
			last = append(last, v)
		}
	}
	p := f.startProxies(order[0])
	hammer := f.startHammer(f.hammered())
	round := slices.Concat(order[1:], order[:1])
	for _, v := range slices.Concat(round, round, last) {
		stop := f.changeOthers()
		p.stop()
		p = f.startProxy(f.api, v, node1)
		p.waitForLog("programmed all Services", len(families))
		f.served()
		stop() // iptables-nft-save begins again whenever a rule changes
		f.eventually(node1, func() error { return f.onlyTracesOf(v) })
		t.Logf("switched to %s", v.name)
	}
	hammer.stop()
	t.Logf("%d connections and %d answers on %d open ones, none lost", hammer.made.Load(), hammer.echoes.Load(), len(f.hammered()))
}

// onlyTracesOf returns an error if node-1 has a rule of another mode than v's.
func (f *faultLab) onlyTracesOf(v variant) error {
	traces := map[string]bool{}
	for _, multi := range []string{"xtables-nft-multi", "xtables-legacy-multi"} {
		for _, save := range []string{"iptables-save", "ip6tables-save"} {
			for line := range strings.Lines(f.run(node1, multi, save)) {
				chain, declared := strings.CutPrefix(line, ":KUBE-")
				chain, _, _ = strings.Cut(chain, " ")
				switch {
				case !declared:
				case strings.HasPrefix(chain, "IPVS-") || slices.Contains(ipvsChains, chain):
					traces["kube-ipvs0"] = true
				default:
					traces[multi] = true
				}
			}
		}
	}
	traces["kubelite"] = strings.Contains(f.run(node1, "nft", "list", "tables"), "kubelite\n")
	traces["kube-ipvs0"] = traces["kube-ipvs0"] || strings.Contains(f.run(node1, "ip", "link"), "kube-ipvs0:")
	own := map[proxy.Mode]string{proxy.IPTables: v.multi, proxy.NFTables: "kubelite", proxy.IPVS: "kube-ipvs0"}[v.mode]
	for trace, there := range traces {
		if there != (trace == own) {
			return fmt.Errorf("mode %s: rules of %s are there: %v", v.name, trace, there)
		}
	}
	return nil
}

// ipvsChains are the chains of mode ipvs that mode iptables has no namesakes of, without their KUBE-.
var ipvsChains = []string{"NODE-PORT", "LOAD-BALANCER", "SOURCE-RANGES-FIREWALL"}
