package events

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Broadcaster writes the Events of all controllers of a process. It may be used concurrently.
type Broadcaster struct {
	broadcaster record.EventBroadcaster
}

// NewBroadcaster starts to write Events through client until ctx is done.
func NewBroadcaster(ctx context.Context, client kubernetes.Interface) *Broadcaster {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return &Broadcaster{broadcaster: broadcaster}
}

// Recorder returns a recorder whose Events name component as their source, for example "deployment-controller".
func (b *Broadcaster) Recorder(component string) record.EventRecorder {
	return b.broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component})
}
