package userspace

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Backend proxies the Services of one address family. It is not safe for concurrent use, and all its methods must be called
// on threads in the network namespace that New was called in: sockets are opened there.
type Backend struct {
	ctx     context.Context // ends the sockets
	options backend.Options
	tables  tables
	dial    dialer

	sockets map[portKey]*servicePort
	// written are the rules of each Service as they were programmed last.
	written map[types.NamespacedName]rules
	// refused are the SCTP ports that were warned of.
	refused map[portKey]bool
	seen    observation
}

// portKey names a Service port for as long as its sockets live.
type portKey struct {
	plan.PortName
	corev1.Protocol
}

// New makes a backend in the network namespace at the path netNS, in which the calling thread must be; empty for the process's
// own. It changes nothing yet. Its sockets, and the connections that go through them, end with ctx.
func New(ctx context.Context, netNS string, options backend.Options) (*Backend, error) {
	tables, err := newTables(options.Family)
	if err != nil {
		return nil, err
	}
	if options.ClusterCIDR.IsValid() {
		options.ClusterCIDR = options.ClusterCIDR.Masked()
	}
	return &Backend{
		ctx:     ctx,
		options: options,
		tables:  tables,
		dial:    newDialer(netNS, options.MasqueradeMark()),
		sockets: map[portKey]*servicePort{},
		written: map[types.NamespacedName]rules{},
		refused: map[portKey]bool{},
	}, nil
}

// Replace implements backend.Backend. Rules of a former process are rewritten, for they lead to its ports. A table changes
// at once, so no client finds a Service without its rules.
func (b *Backend) Replace(ctx context.Context, p plan.Plan) error {
	next := make(map[types.NamespacedName]rules, len(p))
	for name, ports := range p {
		rules, err := b.open(ports)
		if err != nil {
			return err
		}
		next[name] = rules
	}
	kernel, err := b.tables.save(ctx)
	if err != nil {
		return err
	}
	if err := b.tables.restore(ctx, replaceAll(kernel, next, b.options)); err != nil {
		return fmt.Errorf("program all Services: %w", err)
	}
	b.written, b.seen = next, observation{}
	b.closeAllBut(p)
	return nil
}

// Update implements backend.Backend.
func (b *Backend) Update(ctx context.Context, changed plan.Plan) error {
	edit := &transaction{}
	next := make(map[types.NamespacedName]rules, len(changed))
	for _, name := range plan.SortedNames(changed) {
		rules, err := b.open(changed[name])
		if err != nil {
			return err
		}
		next[name] = rules
		edit.change(b.written[name], rules)
	}
	if !edit.empty() {
		if err := b.tables.restore(ctx, edit.String()); err != nil {
			return fmt.Errorf("program %d changed Services: %w", len(changed), err)
		}
		b.seen = observation{}
	}
	for name, rules := range next {
		if len(changed[name]) == 0 {
			delete(b.written, name)
		} else {
			b.written[name] = rules
		}
		b.close(name, changed[name])
	}
	return nil
}

// open makes what the ports need ready to be led to, and returns the rules that lead to it.
func (b *Backend) open(ports []plan.Port) (rules, error) {
	all := rules{}
	for i := range ports {
		port := &ports[i]
		key := portKey{port.Name, port.Protocol}
		if port.Protocol == corev1.ProtocolSCTP {
			if !b.refused[key] {
				slog.Warn("mode userspace cannot proxy SCTP; the port is not served", "service", port.Name.String())
				b.refused[key] = true
			}
			continue
		}
		service := b.sockets[key]
		if service == nil {
			service = newServicePort(b.ctx, port, b.options.Family, b.dial)
			b.sockets[key] = service
		}
		reached, err := service.serve(port)
		if err != nil {
			return nil, fmt.Errorf("proxy port %s: %w", port.Name, err)
		}
		portRules{rules: all, options: b.options, port: port, reached: reached}.build()
	}
	return all, nil
}

// close ends the sockets of the Service's former ports that are not among ports. The kernel must not lead to them any more.
func (b *Backend) close(name types.NamespacedName, ports []plan.Port) {
	for key, service := range b.sockets {
		if key.NamespacedName == name && !hasPort(ports, key) {
			service.close()
			delete(b.sockets, key)
		}
	}
	maps.DeleteFunc(b.refused, func(key portKey, _ bool) bool { return key.NamespacedName == name && !hasPort(ports, key) })
}

func (b *Backend) closeAllBut(p plan.Plan) {
	for key, service := range b.sockets {
		if !hasPort(p[key.NamespacedName], key) {
			service.close()
			delete(b.sockets, key)
		}
	}
	maps.DeleteFunc(b.refused, func(key portKey, _ bool) bool { return !hasPort(p[key.NamespacedName], key) })
}

func hasPort(ports []plan.Port, key portKey) bool {
	return slices.ContainsFunc(ports, func(port plan.Port) bool { return port.Name == key.PortName && port.Protocol == key.Protocol })
}
