package pods

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// imageState is one image's pull, on behalf of one Pod.
type imageState struct {
	done    chan struct{} // closed when the pull under way is over; nil: none is
	image   *Image
	err     error
	delay   time.Duration
	backOff bool      // the pull has failed, and the back-off event has been sent
	until   time.Time // not pulled again before
}

// ensureImage returns the container's image, or nil while it is being pulled or cannot be had: the container's waiting reason then says
// why. The pull runs beside the worker and wakes it.
func (w *worker) ensureImage(pod *v1.Pod, container *v1.Container) *Image {
	refuse := func(reason, event, message string) {
		w.event(pod, container.Name, v1.EventTypeWarning, event, message)
		w.event(pod, container.Name, v1.EventTypeWarning, "Failed", "Error: "+reason)
		w.waiting[container.Name] = waitReason{reason: reason, message: message, until: w.loop.Now().Add(pullBackOffFirst)}
	}
	if _, err := name.ParseReference(container.Image); err != nil {
		refuse("InvalidImageName", "InspectFailed", fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: invalid reference format", container.Image, container.Image))
		return nil
	}
	state := w.images[container.Image]
	if state != nil && state.done != nil {
		if !isClosed(state.done) {
			return nil
		}
		return w.pulled(pod, container, state)
	}
	image, err := w.loop.Images.Get(container.Image)
	switch {
	case err == nil:
		w.event(pod, container.Name, v1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", container.Image))
		return image
	case !errors.Is(err, ErrImageNotFound):
		refuse("ImageInspectError", "InspectFailed", fmt.Sprintf("Failed to inspect image %q: %v", container.Image, err))
		return nil
	case container.ImagePullPolicy == v1.PullNever:
		refuse("ErrImageNeverPull", "ErrImageNeverPull", fmt.Sprintf("Container image %q is not present with pull policy of Never", container.Image))
		return nil
	}
	if state == nil {
		state = &imageState{}
		w.images[container.Image] = state
	}
	if w.loop.Now().Before(state.until) {
		w.backOffPull(pod, container, state)
		return nil
	}
	w.beginPull(pod, container, state)
	return nil
}

func (w *worker) beginPull(pod *v1.Pod, container *v1.Container, state *imageState) {
	w.event(pod, container.Name, v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", container.Image))
	done := make(chan struct{})
	state.done = done
	started := w.loop.Now()
	go func() {
		secrets, err := w.pullSecrets(w.ctx, pod)
		if err == nil {
			state.image, err = w.loop.Images.Pull(w.ctx, container.Image, secrets)
		}
		state.err = err
		if err == nil {
			took := w.loop.Now().Sub(started).Round(time.Millisecond)
			w.event(pod, container.Name, v1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
				container.Image, took, took, state.image.Size))
		}
		close(done)
		w.nudge()
	}()
}

// pulled takes the result of a pull that is over.
func (w *worker) pulled(pod *v1.Pod, container *v1.Container, state *imageState) *Image {
	state.done = nil
	if state.err == nil {
		delete(w.images, container.Image)
		return state.image
	}
	state.delay = min(max(2*state.delay, pullBackOffFirst), pullBackOffLongest)
	now := w.loop.Now()
	state.until, state.backOff = now.Add(state.delay), false
	w.event(pod, container.Name, v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", container.Image, state.err))
	w.event(pod, container.Name, v1.EventTypeWarning, "Failed", "Error: ErrImagePull")
	w.waiting[container.Name] = waitReason{reason: "ErrImagePull", message: state.err.Error(), until: now.Add(state.delay / 4)}
	return nil
}

// backOffPull says that the image will be pulled again, but not yet.
func (w *worker) backOffPull(pod *v1.Pod, container *v1.Container, state *imageState) {
	message := fmt.Sprintf("Back-off pulling image %q", container.Image)
	if !state.backOff {
		state.backOff = true
		w.event(pod, container.Name, v1.EventTypeNormal, "BackOff", message)
		w.event(pod, container.Name, v1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
	}
	w.waiting[container.Name] = waitReason{reason: "ImagePullBackOff", message: fmt.Sprintf("%s: ErrImagePull: %v", message, state.err), until: state.until}
}

// pullSecrets are the Pod's imagePullSecrets; one that is missing is left out, as the kubelet does.
func (w *worker) pullSecrets(ctx context.Context, pod *v1.Pod) ([]*v1.Secret, error) {
	var secrets []*v1.Secret
	for _, reference := range pod.Spec.ImagePullSecrets {
		secret, err := w.loop.Client.CoreV1().Secrets(pod.Namespace).Get(ctx, reference.Name, metav1.GetOptions{})
		if err != nil {
			w.event(pod, "", v1.EventTypeWarning, "FailedToRetrieveImagePullSecret",
				fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", reference.Name))
			continue
		}
		secrets = append(secrets, secret)
	}
	return secrets, ctx.Err()
}

// announceStandIn tells in an event, once a Pod, that an image is not what its name says.
func (w *worker) announceStandIn(pod *v1.Pod, container *v1.Container, image *Image) {
	if image.StandIn != "" && !w.standIns[container.Image] {
		w.standIns[container.Image] = true
		w.event(pod, container.Name, v1.EventTypeNormal, "StandIn", image.StandIn)
	}
}
