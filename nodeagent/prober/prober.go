package prober

import (
	"context"
	"fmt"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Kind is what a probe is for.
type Kind string

const (
	Startup   Kind = "startup"
	Readiness Kind = "readiness"
	Liveness  Kind = "liveness"
)

// title is how a Kind begins an event's message.
func (k Kind) title() string { return string(k[0]-'a'+'A') + string(k[1:]) }

// Exec runs a command in a container and returns what it printed. A command that ends with an exit code is no error.
type Exec func(ctx context.Context, containerID string, command []string) (output []byte, exitCode int, err error)

// Prober makes probes. It may be used concurrently.
type Prober struct{ exec Exec }

// New returns a prober that runs exec probes by exec.
func New(exec Exec) *Prober { return &Prober{exec: exec} }

// Target is one run of a container.
type Target struct {
	ContainerID, PodIP string
	Container          *v1.Container
	Started            time.Time
	// Ready says that the container was found ready before: it stays so until its readiness probe has failed for good.
	Ready bool
	// Unhealthy is told of each probe that fails, Warning of one that succeeds with a reservation; both in Kubernetes' words.
	Unhealthy, Warning func(message string)
	// Result is told of a verdict: for readiness when it changes (it is Ready at first), of a startup probe that has succeeded, of a
	// startup or liveness probe that has failed for good. Calls come from several goroutines.
	Result func(kind Kind, success bool)
}

// verdict is what one probe found. The zero value is none: nothing is known.
type verdict struct {
	success bool
	message string // why not, or the reservation
	err     error  // the probe could not be made
}

// Start makes the container's probes until ctx is done. Liveness and readiness wait for the startup probe.
func (p *Prober) Start(ctx context.Context, target Target) {
	rest := func() {
		if target.Container.LivenessProbe != nil {
			go p.run(ctx, &target, Liveness, target.Container.LivenessProbe, nil)
		}
		if target.Container.ReadinessProbe != nil {
			go p.run(ctx, &target, Readiness, target.Container.ReadinessProbe, nil)
		}
	}
	if target.Container.StartupProbe == nil {
		rest()
		return
	}
	go p.run(ctx, &target, Startup, target.Container.StartupProbe, rest)
}

// run is a probe's goroutine. It ends when ctx is done, a liveness or startup probe has failed for good, or a startup probe succeeds.
func (p *Prober) run(ctx context.Context, target *Target, kind Kind, probe *v1.Probe, succeeded func()) {
	timer := time.NewTimer(time.Until(target.Started.Add(time.Duration(probe.InitialDelaySeconds) * time.Second)))
	defer timer.Stop()
	period := time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
	ready := kind == Readiness && target.Ready
	last, count := ready, int32(0)
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begun := time.Now()
		found := p.once(ctx, target, probe)
		if first && kind != Liveness && probe.Exec == nil {
			found = p.insist(ctx, target, probe, found, begun.Add(min(period, insistence)))
		}
		if ctx.Err() != nil {
			return
		}
		p.report(target, kind, found)
		if found.err == nil { // what is not known changes nothing
			if found.success != last {
				last, count = found.success, 0
			}
			count++
			switch {
			case found.success && count < max(probe.SuccessThreshold, 1), !found.success && count < max(probe.FailureThreshold, 1):
			case kind == Readiness && ready != found.success:
				ready = found.success
				target.Result(kind, ready)
			case kind == Startup && found.success:
				target.Result(kind, true)
				succeeded()
				return
			case kind != Readiness && !found.success:
				target.Result(kind, false)
				return
			}
		}
		timer.Reset(time.Until(begun.Add(period)))
	}
}

// insistence is how long a first probe over the network is repeated.
const insistence = time.Second

// insist repeats a container's first probe, at ever longer intervals, until it succeeds or the time is up: a program needs some
// milliseconds from its start to its first accept, and its Pod is not to wait a whole period (10 s by default) for that. It counts as one
// probe, and is reported as one. Exec probes are not repeated, for each is a process.
func (p *Prober) insist(ctx context.Context, target *Target, probe *v1.Probe, found verdict, until time.Time) verdict {
	for pause := 10 * time.Millisecond; !found.success && found.err == nil && time.Now().Add(pause).Before(until); pause = pause * 3 / 2 {
		select {
		case <-ctx.Done():
			return found
		case <-time.After(pause):
		}
		found = p.once(ctx, target, probe)
	}
	return found
}

func (p *Prober) report(target *Target, kind Kind, found verdict) {
	switch {
	case found.err != nil:
		target.Unhealthy(fmt.Sprintf("%s probe errored: %v", kind.title(), found.err))
	case !found.success:
		target.Unhealthy(fmt.Sprintf("%s probe failed: %s", kind.title(), found.message))
	case found.message != "":
		target.Warning(fmt.Sprintf("%s probe warning: %s", kind.title(), found.message))
	}
}

// once makes the probe. It takes no longer than the probe's timeout.
func (p *Prober) once(ctx context.Context, target *Target, probe *v1.Probe) verdict {
	timeout := time.Duration(max(probe.TimeoutSeconds, 1)) * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case probe.Exec != nil:
		return p.probeExec(ctx, target, probe.Exec.Command, timeout)
	case probe.HTTPGet != nil:
		request, err := newRequest(ctx, probe.HTTPGet, target.Container, target.PodIP)
		if err != nil {
			return verdict{err: err}
		}
		return probeHTTP(request)
	case probe.TCPSocket != nil:
		port, err := portNumber(probe.TCPSocket.Port, target.Container)
		if err != nil {
			return verdict{err: err}
		}
		return probeTCP(ctx, hostOr(probe.TCPSocket.Host, target.PodIP), port)
	case probe.GRPC != nil:
		service := ""
		if probe.GRPC.Service != nil {
			service = *probe.GRPC.Service
		}
		return probeGRPC(ctx, target.PodIP, int(probe.GRPC.Port), service, timeout)
	}
	return verdict{err: fmt.Errorf("missing probe handler for container %s", target.Container.Name)}
}

func hostOr(host, podIP string) string {
	if host != "" {
		return host
	}
	return podIP
}

// portNumber is a port given by number or by the name that the container has for it.
func portNumber(port intstr.IntOrString, container *v1.Container) (int, error) {
	number := port.IntValue()
	if port.Type == intstr.String {
		for _, named := range container.Ports {
			if named.Name == port.StrVal {
				number = int(named.ContainerPort)
			}
		}
		if number == 0 {
			if _, err := strconv.Atoi(port.StrVal); err != nil {
				return 0, fmt.Errorf("couldn't find port: %q in container: %s", port.StrVal, container.Name)
			}
		}
	}
	if number < 1 || number > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", number)
	}
	return number, nil
}
