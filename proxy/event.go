package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// eventTimeout bounds the wait for an API server that does not answer: an Event is worth no more.
const eventTimeout = 10 * time.Second

// reportRefused makes an Event at the Service whose health-check node port cannot be listened on. It returns at once.
func (p *proxy) reportRefused(service types.NamespacedName, port uint16, reason error) {
	now := metav1.Now()
	event := &corev1.Event{
		// Named as client-go names Events: the object and the time in hexadecimal.
		ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("%s.%x", service.Name, now.UnixNano()), Namespace: service.Namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: service.Namespace, Name: service.Name},
		Type:           corev1.EventTypeWarning,
		Reason:         "FailedToStartServiceHealthcheck",
		Message:        fmt.Sprintf("node %s failed to start healthcheck %q on port %d: %v", p.config.NodeName, service, port, reason),
		Source:         corev1.EventSource{Component: "kube-proxy", Host: p.config.NodeName},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	go func() { // ends with the request
		ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
		defer cancel()
		if _, err := p.client.CoreV1().Events(service.Namespace).Create(ctx, event, metav1.CreateOptions{}); err != nil {
			slog.Warn("make an event", "service", service, "error", err)
		}
	}()
}
