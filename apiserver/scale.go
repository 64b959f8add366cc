package apiserver

import (
	"fmt"
	"net/http"

	"github.com/kubelite/kubelite/apiserver/store"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var scaleKind = autoscalingv1.SchemeGroupVersion.WithKind("Scale")

// scaleOf is the Scale of a scalable object.
func (c *call) scaleOf(obj Object) *autoscalingv1.Scale {
	spec, status := c.resource.Scale.Replicas(obj)
	scale := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name:              obj.GetName(),
			Namespace:         obj.GetNamespace(),
			UID:               obj.GetUID(),
			ResourceVersion:   obj.GetResourceVersion(),
			CreationTimestamp: obj.GetCreationTimestamp(),
		},
		Spec:   autoscalingv1.ScaleSpec{Replicas: spec},
		Status: autoscalingv1.ScaleStatus{Replicas: status, Selector: c.resource.Scale.Selector(obj)},
	}
	scale.SetGroupVersionKind(scaleKind)
	return scale
}

// getScale answers GET of /scale.
func (c *call) getScale() error {
	format, err := c.format()
	if err != nil {
		return err
	}
	item, err := c.store.Get(c.key())
	if err != nil {
		return storeError(c.resource.Kind, c.name, err)
	}
	writeObject(c.w, c.r, http.StatusOK, format, c.scaleOf(item.Object))
	return nil
}

// updateScale answers PUT of /scale.
func (c *call) updateScale() error {
	options, err := c.updateOptions()
	if err != nil {
		return err
	}
	sent := new(autoscalingv1.Scale)
	if err := c.decodeBody(scaleKind, sent, options.fieldValidation); err != nil {
		return err
	}
	return c.rescale(change{options: options, subresource: "scale", insist: sent.ResourceVersion != ""},
		func(*autoscalingv1.Scale) (*autoscalingv1.Scale, error) { return sent, nil })
}

// patchScale answers PATCH of /scale; apply patches are not known to it.
func (c *call) patchScale() error {
	patch, err := c.readPatch()
	if err != nil {
		return err
	}
	if patch.kind == types.ApplyYAMLPatchType {
		return unsupportedMediaTypeError(fmt.Sprintf("%s, %s, %s", types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType))
	}
	return c.rescale(change{options: patch.options, subresource: "scale"}, func(current *autoscalingv1.Scale) (*autoscalingv1.Scale, error) {
		next := new(autoscalingv1.Scale)
		return next, c.patchObject(patch, current, next, scaleKind)
	})
}

// rescale sets the replicas that next makes of the current Scale.
func (c *call) rescale(ch change, next func(*autoscalingv1.Scale) (*autoscalingv1.Scale, error)) error {
	format, err := c.format()
	if err != nil {
		return err
	}
	ch.next = func(current Object) (Object, error) {
		scale, err := next(c.scaleOf(current))
		if err != nil {
			return nil, err
		}
		if scale.Spec.Replicas < 0 {
			return nil, apierrors.NewInvalid(scaleKind.GroupKind(), c.name, field.ErrorList{
				field.Invalid(field.NewPath("spec", "replicas"), scale.Spec.Replicas, "must be greater than or equal to 0"),
			})
		}
		if scale.Name != "" && scale.Name != c.name {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", scale.Name, c.name))
		}
		if err := c.checkIdentity(scale, current); err != nil {
			return nil, err
		}
		c.resource.Scale.SetReplicas(current, scale.Spec.Replicas)
		return current, nil
	}
	var item *store.Item
	if item, _, err = c.modify(ch); err != nil {
		return err
	}
	writeObject(c.w, c.r, http.StatusOK, format, c.scaleOf(item.Object))
	return nil
}
