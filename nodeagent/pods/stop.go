package pods

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/kubelite/kubelite/nodeagent/runtime"
)

// stop is a container's way to its end: the preStop hook, the stop signal, and at the deadline SIGKILL.
type stop struct {
	deadline  time.Time
	grace     time.Duration
	hook      chan struct{} // closed when the preStop hook is over
	signalled bool
}

// killAgain is how long a container that was sent SIGKILL may take to be seen as exited before it is looked at again.
const killAgain = 5 * time.Second

// beginStop is called once a container; driveStops does the rest.
func (w *worker) beginStop(pod *v1.Pod, kill kill) {
	container := w.find(kill.id)
	if container == nil {
		return
	}
	w.event(pod, kill.name, v1.EventTypeNormal, "Killing", kill.event)
	state := &stop{deadline: w.loop.Now().Add(kill.grace), grace: kill.grace, hook: make(chan struct{})}
	w.stops[kill.id] = state
	w.mutex.Lock()
	if probes := w.probeStates[kill.id]; probes != nil {
		probes.cancel() // a container that ends is not probed
	}
	w.mutex.Unlock()
	spec := findContainer(pod, kill.name)
	if spec == nil || spec.Lifecycle == nil || spec.Lifecycle.PreStop == nil {
		close(state.hook)
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, kill.grace)
	id, podIP := kill.id, w.podIP()
	go func() {
		defer cancel()
		if err := w.runHook(ctx, spec, spec.Lifecycle.PreStop, id, podIP); err != nil && w.ctx.Err() == nil {
			w.log.Error("preStop hook", "container", spec.Name, "error", err)
			w.event(pod, spec.Name, v1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
		}
		close(state.hook)
		w.nudge()
	}()
}

// driveStops sends the signals that are due.
func (w *worker) driveStops(ctx context.Context, pod *v1.Pod) {
	now := w.loop.Now()
	for id, stop := range w.stops {
		container := w.find(id)
		if container == nil || container.State != runtime.Running {
			delete(w.stops, id)
			continue
		}
		if pod.DeletionGracePeriodSeconds != nil { // a second, more impatient deletion
			if grace := gracePeriod(pod, nil); grace < stop.grace {
				stop.grace = grace
				if deadline := now.Add(grace); deadline.Before(stop.deadline) {
					stop.deadline = deadline
				}
			}
		}
		if isClosed(stop.hook) && !stop.signalled {
			stop.signalled = true
			w.signal(ctx, id, w.stopSignal(pod, container))
		}
		if !now.Before(stop.deadline) {
			w.signal(ctx, id, int(unix.SIGKILL))
			stop.signalled = true
			stop.deadline = now.Add(killAgain)
			w.mutex.Lock()
			w.exited = true // an exit that was missed is found then
			w.mutex.Unlock()
		}
	}
}

func (w *worker) signal(ctx context.Context, id string, signal int) {
	if err := w.loop.Runtime.SignalContainer(ctx, id, signal); err != nil {
		w.log.Info("container cannot be signalled", "id", id, "signal", signal, "error", err)
		w.containerExited()
	}
}

func (w *worker) stopSignal(pod *v1.Pod, container *runtime.Container) int {
	if spec := findContainer(pod, container.Name); spec != nil && spec.Lifecycle != nil && spec.Lifecycle.StopSignal != nil {
		return signalNumber(string(*spec.Lifecycle.StopSignal))
	}
	return signalNumber(container.Labels[labelStopSignal])
}

// signalNumber reads "SIGQUIT", "QUIT" or "3"; anything else is SIGTERM.
func signalNumber(name string) int {
	if number, err := strconv.Atoi(name); err == nil && number > 0 && number < 65 {
		return number
	}
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if number := unix.SignalNum(name); number != 0 {
		return int(number)
	}
	return int(unix.SIGTERM)
}

func (w *worker) podIP() string {
	if addresses := w.podIPs(); len(addresses) > 0 {
		return addresses[0]
	}
	return ""
}

func (w *worker) podIPs() []string {
	if w.sandbox == nil {
		return nil
	}
	return sandboxIPs(w.sandbox, w.loop.NodeIPs)
}

// sandboxIPs are the Pod's addresses, the one of IPv4 first: the node's own if it uses the node's network.
func sandboxIPs(sandbox *runtime.Sandbox, nodeIPs []string) []string {
	if sandbox.HostNetwork {
		return nodeIPs
	}
	var addresses []string
	for _, address := range []netip.Addr{sandbox.IP, sandbox.IPv6} {
		if address.IsValid() {
			addresses = append(addresses, address.String())
		}
	}
	return addresses
}
