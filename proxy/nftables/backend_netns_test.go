package nftables

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kubelite/kubelite/internal/netfilter"
	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/internal/netnstest"
	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	"github.com/kubelite/kubelite/proxy/plantest"
)

// inNamespace runs f on a thread in a fresh network namespace with its loopback up. f must not call t.Fatal.
func inNamespace(t testing.TB, f func() error) {
	t.Helper()
	err := netns.Do(netnstest.New(t), func() error {
		if output, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			return fmt.Errorf("set lo up: %w: %s", err, output)
		}
		return f()
	})
	if err != nil {
		t.Error(err)
	}
}

// listing is what `nft list ruleset` prints.
func listing() (string, error) {
	output, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nft list ruleset: %w: %s", err, output)
	}
	return string(output), nil
}

var background = context.Background()

// program makes a new backend and has it program the plan.
func program(options backend.Options, p plan.Plan) (*Backend, error) {
	made, err := New(options)
	if err != nil {
		return nil, err
	}
	return made, made.Replace(background, p)
}

// compareNow is Difference, had someone else changed anything.
func (b *Backend) compareNow() (string, error) {
	b.seenValid = false
	return b.Difference(background)
}

var elementList = regexp.MustCompile(`(?s)elements = \{ (.*?) \}\n`)

// inOrder sorts what nft prints in the order of the kernel's hash tables: elements, and chains of the same table.
func inOrder(listing string) string {
	listing = elementList.ReplaceAllStringFunc(listing, func(list string) string {
		elements := strings.Split(elementList.FindStringSubmatch(list)[1], ",")
		for i := range elements {
			elements[i] = strings.TrimSpace(elements[i])
		}
		slices.Sort(elements)
		return "elements = {\n\t\t\t" + strings.Join(elements, ",\n\t\t\t") + "\n\t\t}\n"
	})
	header, rest, _ := strings.Cut(listing, "\n\tchain ")
	chains := strings.Split(strings.TrimSuffix(rest, "}\n"), "\n\tchain ")
	for i := range chains {
		chains[i] = "\n\tchain " + strings.TrimSuffix(chains[i], "\n")
	}
	slices.SortStableFunc(chains, func(a, b string) int {
		onDemand := func(text string) bool {
			_, ok := chainNamed(strings.Fields(text)[1])
			return ok
		}
		switch {
		case onDemand(a) && onDemand(b):
			return strings.Compare(a, b)
		case onDemand(a):
			return 1
		case onDemand(b):
			return -1
		}
		return 0
	})
	return header + strings.Join(chains, "\n") + "\n}\n"
}

// What nft prints is plain, in both families.
func TestNetnsListing(t *testing.T) {
	inCluster := nodeOptions // as kubelite's own nodes are, by default
	inCluster.NodePortAddresses = []netip.Prefix{netip.PrefixFrom(nodeOptions.NodeIPs[0], 32)}
	for _, test := range []struct {
		options backend.Options
		plan    plan.Plan
		golden  string
	}{
		{nodeOptions, readPlan(t, "testdata/services.yaml"), "testdata/services.nft"},
		{inCluster, readPlan(t, "testdata/docs.yaml"), "testdata/docs.nft"},
		{optionsIPv6, readPlan(t, "testdata/services6.yaml"), "testdata/services6.nft"},
	} {
		var listed string
		inNamespace(t, func() error {
			made, err := program(test.options, test.plan)
			if err != nil {
				return err
			}
			if found, err := made.compareNow(); found != "" || err != nil {
				t.Errorf("difference right after programming: %s %v", found, err)
			}
			listed, err = listing()
			return err
		})
		if listed != "" {
			checkGolden(t, test.golden, inOrder(listed))
		}
	}
}

var nftBlock = regexp.MustCompile("(?s)```nft\n(.*?)```")

// docs/nftables.md explains every line of what nft prints, and none that it does not.
func TestDocumentedListing(t *testing.T) {
	page, err := os.ReadFile("../../docs/nftables.md")
	if err != nil {
		t.Fatal(err)
	}
	printed, err := os.ReadFile("testdata/docs.nft")
	if err != nil {
		t.Fatal(err)
	}
	var explained strings.Builder
	for _, block := range nftBlock.FindAllStringSubmatch(string(page), -1) {
		explained.WriteString(block[1])
	}
	lines := func(text string) []string {
		all := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
		for i := range all {
			all[i] = strings.TrimSpace(all[i])
		}
		slices.Sort(all)
		return all
	}
	if actual, expected := lines(explained.String()), lines(string(printed)); !slices.Equal(actual, expected) {
		t.Errorf("docs/nftables.md explains\n%s\nnft prints\n%s", strings.Join(actual, "\n"), strings.Join(expected, "\n"))
	}
}

// A new process finds the table of the one before it right, and does not touch it.
func TestNetnsReplaceLeavesRightTableAlone(t *testing.T) {
	p := readPlan(t, "testdata/services.yaml")
	inNamespace(t, func() error {
		if _, err := program(nodeOptions, p); err != nil {
			return err
		}
		before, err := netfilter.Generation()
		if err != nil {
			return err
		}
		if _, err := program(nodeOptions, p); err != nil {
			return err
		}
		after, err := netfilter.Generation()
		if before != after {
			t.Errorf("generation %d became %d", before, after)
		}
		return err
	})
}

// Where a set becomes too small for a change, there is a larger table after it, and what the kernel remembers of clients is still there.
func TestNetnsSetsGetLarger(t *testing.T) {
	inNamespace(t, func() error {
		made, err := program(nodeOptions, plan.Plan{})
		if err != nil {
			return err
		}
		sticky := plantest.UniformService(0, 0, 2)
		for i := range sticky {
			sticky[i].AffinitySeconds = 3600
		}
		if err := made.Update(background, plan.Plan{serviceName(0): sticky}); err != nil {
			return err
		}
		known := newBatch(made.layout, tableName, 0)
		client := memory{timeout: binary.BigEndian.AppendUint64(nil, 3600_000), expiration: binary.BigEndian.AppendUint64(nil, 3600_000)}
		client.set, client.data = affinity, endpointData(sticky[0].Cluster[0].AddrPort)
		address := sticky[0].ClusterIP.As4()
		copy(client.bytes[:], append([]byte{203, 0, 113, 1}, address[:]...))
		copy(client.bytes[8:], []byte{protocolTCP, 0, 0, 0, byte(sticky[0].Port >> 8), byte(sticky[0].Port)})
		known.addMemory(client)
		if err := commit(made.connection, known); err != nil {
			return err
		}
		many := plan.Plan{}
		for number := 1; number <= minimalSize; number++ {
			many[serviceName(number)] = plantest.UniformService(number, 3*number, 3)
		}
		if err := made.Update(background, many); err != nil {
			return err
		}
		if found, err := made.compareNow(); found != "" || err != nil {
			t.Errorf("with many Services: %s %v", found, err)
		}
		table, err := made.connection.readTable(made.layout)
		if want := uint32(3 * minimalSize); table.sizes[endpoints] < want || table.sizes[firewall] != minimalSize {
			t.Errorf("sizes %v for %d endpoints", table.sizes, want)
		}
		if remembered := made.memories(); len(remembered) != 1 || remembered[0].key != client.key {
			t.Errorf("remembers %v", remembered)
		}
		return err
	})
}

// A table that takes longer to read than to write is written anew.
func TestNetnsLargeTakeOver(t *testing.T) {
	p := plantest.Uniform(refillFrom/8, 5)
	p[plantest.UniformName(1)] = plantest.UniformService(1, 0, 7)
	inNamespace(t, func() error {
		if _, err := program(nodeOptions, p); err != nil {
			return err
		}
		p[plantest.UniformName(1)] = plantest.UniformService(1, 3, 4)
		delete(p, plantest.UniformName(2))
		made, err := program(nodeOptions, p)
		if err != nil {
			return err
		}
		if count := total(made.state.counts()); count <= refillFrom {
			t.Errorf("%d elements are too few for this test", count)
		}
		found, err := made.compareNow()
		if found != "" {
			t.Error(found)
		}
		return err
	})
}

// What is found missing, changed or added is named, and put right. What is not in the table is nobody's business here.
func TestNetnsDifference(t *testing.T) {
	p := readPlan(t, "testdata/services.yaml")
	inNamespace(t, func() error {
		made, err := program(nodeOptions, p)
		if err != nil {
			return err
		}
		right, err := listing()
		if err != nil {
			return err
		}
		for _, test := range []struct{ damage, found string }{
			{"delete table ip kubelite", "table ip kubelite: is gone"},
			{"flush ruleset", "table ip kubelite: is gone"},
			{"add table ip kubelite { flags dormant; }", "table ip kubelite: has flags"},
			{"flush chain ip kubelite services", "table ip kubelite: chain services has 0 rules instead of 2"},
			{"flush table ip kubelite", "table ip kubelite: chain"},
			{"insert rule ip kubelite cluster-ip-2 accept", "table ip kubelite: chain cluster-ip-2 has 3 rules instead of 2"},
			{"add chain ip kubelite mine", "table ip kubelite: chain mine should not be there"},
			{"add chain ip kubelite cluster-ip-9", "table ip kubelite: chain cluster-ip-9 has 0 rules instead of 2"},
			{"add set ip kubelite mine { type ipv4_addr; }", "table ip kubelite: set mine should not be there"},
			{"add chain ip kubelite filter-input { policy drop; }", "table ip kubelite: chain filter-input is entered in another way"},
			{"delete element ip kubelite services { 10.96.0.1 . tcp . 443 }", "table ip kubelite: set services lacks tcp port 443 of 10.96.0.1"},
			{"add element ip kubelite node-ports { tcp . 80 : drop }", "table ip kubelite: set node-ports has tcp node port 80, which no Service has"},
			{"delete element ip kubelite endpoints { 10.96.0.1 . tcp . 443 . 0 }; add element ip kubelite endpoints { 10.96.0.1 . tcp . 443 . 0 : 1.2.3.4 . 5 }",
				"table ip kubelite: set endpoints says something else about tcp port 443 of 10.96.0.1"},
			{"flush map ip kubelite endpoints", "table ip kubelite: set endpoints lacks"},
			{"flush set ip kubelite source-ranges", "table ip kubelite: set source-ranges lacks tcp port 80 of 192.168.1.202"},
			{"replace rule ip kubelite services handle HANDLE drop", "table ip kubelite: rule 1 of chain services is another one"},
			{"add table ip other; add chain ip other input { type filter hook input priority 0; }; add rule ip other input drop", ""},
		} {
			if strings.Contains(test.damage, "HANDLE") {
				if test.damage, err = withHandle(test.damage); err != nil {
					return err
				}
			}
			if output, err := exec.Command("nft", test.damage).CombinedOutput(); err != nil {
				return fmt.Errorf("nft %s: %w: %s", test.damage, err, output)
			}
			found, err := made.Difference(background)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(found, test.found) || found != "" && test.found == "" {
				t.Errorf("after %q found %q, expected %q", test.damage, found, test.found)
			}
			if found == "" {
				continue
			}
			if err := made.Replace(background, p); err != nil {
				return err
			}
			if found, err := made.compareNow(); found != "" || err != nil {
				t.Errorf("after %q and Replace: %s %v", test.damage, found, err)
			}
			mended, err := listing()
			if err != nil {
				return err
			}
			if inOrder(mended) != inOrder(right) {
				t.Errorf("after %q and Replace:\n%s", test.damage, mended)
			}
		}
		return nil
	})
}

// withHandle puts the number of the first rule of chain services for HANDLE.
func withHandle(command string) (string, error) {
	output, err := exec.Command("nft", "-a", "list", "chain", "ip", tableName, "services").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nft -a list chain: %w: %s", err, output)
	}
	for line := range strings.Lines(string(output)) {
		if _, handle, found := strings.Cut(line, "# handle "); found && strings.Contains(line, "vmap @services") {
			return strings.Replace(command, "HANDLE", strings.TrimSpace(handle), 1), nil
		}
	}
	return "", fmt.Errorf("no rule in %s", output)
}

// Random changes in a kernel, with a new process now and then.
func TestNetnsChangesEndAsFromScratch(t *testing.T) {
	for _, of := range bothFamilies {
		for seed := range uint64(8) {
			inNamespace(t, func() error {
				world := plantest.New(seed, plantest.Options{Family: of, Services: 15})
				options := layoutOf(of).options
				made, err := program(options, world.Plan())
				if err != nil {
					return err
				}
				for step := range 25 {
					changed := world.Change()
					if step%8 == 7 { // a new process missed a change
						if made, err = program(options, world.Plan()); err != nil {
							return fmt.Errorf("seed %d step %d: %w", seed, step, err)
						}
					} else if err := made.Update(background, changed); err != nil {
						return fmt.Errorf("seed %d step %d: %w", seed, step, err)
					}
					ours, err := made.Difference(background)
					if err != nil || ours != "" {
						return fmt.Errorf("seed %d step %d: own change taken for another's: %s %w", seed, step, ours, err)
					}
					if found, err := made.compareNow(); found != "" || err != nil {
						return fmt.Errorf("seed %d step %d: %s %w", seed, step, found, err)
					}
				}
				return nil
			})
		}
	}
}

// A table that has lost its sets goes like any other.
func TestNetnsCleanupOfDamagedTable(t *testing.T) {
	inNamespace(t, func() error {
		if output, err := exec.Command("nft", "add", "table", "ip", tableName).CombinedOutput(); err != nil {
			return fmt.Errorf("nft add table: %w: %s", err, output)
		}
		if err := Cleanup(background); err != nil {
			return err
		}
		if left, err := listing(); left != "" || err != nil {
			t.Errorf("left: %s %v", left, err)
		}
		return nil
	})
}

// The backends of both families do not take each other's changes for someone else's, and Cleanup removes both tables.
func TestNetnsBothFamiliesAndCleanup(t *testing.T) {
	inNamespace(t, func() error {
		if err := Cleanup(background); err != nil {
			return err
		}
		four, err := program(nodeOptions, readPlan(t, "testdata/services.yaml"))
		if err != nil {
			return err
		}
		six, err := program(optionsIPv6, readPlan(t, "testdata/services6.yaml"))
		if err != nil {
			return err
		}
		for range 3 {
			if err := six.Update(background, plan.Plan{serviceName(1): plantest.UniformService(1, 1, 1)}); err != nil {
				return err
			}
			current, err := netfilter.Generation()
			if err != nil {
				return err
			}
			if ours, err := onlyOurs(four.seen, current); !ours || err != nil {
				t.Errorf("generation %d after %d is not ours: %v", current, four.seen, err)
			}
		}
		if err := Cleanup(background); err != nil {
			return err
		}
		if left, err := listing(); left != "" || err != nil {
			t.Errorf("left: %s %v", left, err)
		}
		return nil
	})
}
