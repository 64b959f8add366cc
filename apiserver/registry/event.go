package registry

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// eventKind is v1 Events, the form in which Events of both groups are stored.
func eventKind() *Kind {
	return &Kind{
		GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Event"),
		Resource:         "events",
		Singular:         "event",
		ShortNames:       []string{"ev"},
		Namespaced:       true,
		Volatile:         true,
		Lifetime:         time.Hour, // kube-apiserver's --event-ttl
		CreateOnUpdate:   true,
		New:              func() Object { return &corev1.Event{} },
		NewList:          func() runtime.Object { return &corev1.EventList{} },
		Validate:         func(obj Object) field.ErrorList { return validateEvent(obj.(*corev1.Event)) },
		ValidateUpdate:   func(obj, _ Object) field.ErrorList { return validateEvent(obj.(*corev1.Event)) },
		ValidateName:     validation.NameIsDNSSubdomain,
		Columns:          eventColumns(),
		Cells:            eventCells,
		Fields: func(obj Object) fields.Set {
			return eventFields(obj.(*corev1.Event), "involvedObject", "reportingComponent")
		},
	}
}

// eventsV1Kind is events.k8s.io/v1 Events. Its checks of new Events are stricter than v1's.
func eventsV1Kind(stored *Kind) *Kind {
	kind := *stored
	kind.GroupVersionKind = eventsv1.SchemeGroupVersion.WithKind("Event")
	kind.New = func() Object { return &eventsv1.Event{} }
	kind.NewList = func() runtime.Object { return &eventsv1.EventList{} }
	kind.StoredAs = &StoredAs{
		Kind:       stored,
		ToStored:   func(obj Object) Object { return eventToCore(obj.(*eventsv1.Event)) },
		FromStored: func(obj Object) Object { return eventFromCore(obj.(*corev1.Event)) },
	}
	kind.Validate = func(obj Object) field.ErrorList { return validateNewEventsV1(obj.(*corev1.Event)) }
	kind.ValidateUpdate = func(obj, old Object) field.ErrorList {
		return validateEventsV1Update(obj.(*corev1.Event), old.(*corev1.Event))
	}
	kind.Fields = func(obj Object) fields.Set {
		return eventFields(obj.(*corev1.Event), "regarding", "reportingController")
	}
	return &kind
}

func eventFields(event *corev1.Event, object, reporter string) fields.Set {
	source := event.Source.Component
	if source == "" {
		source = event.ReportingController
	}
	return fields.Set{
		object + ".kind":            event.InvolvedObject.Kind,
		object + ".namespace":       event.InvolvedObject.Namespace,
		object + ".name":            event.InvolvedObject.Name,
		object + ".uid":             string(event.InvolvedObject.UID),
		object + ".apiVersion":      event.InvolvedObject.APIVersion,
		object + ".resourceVersion": event.InvolvedObject.ResourceVersion,
		object + ".fieldPath":       event.InvolvedObject.FieldPath,
		reporter:                    event.ReportingController,
		"reason":                    event.Reason,
		"source":                    source,
		"type":                      event.Type,
	}
}

func eventColumns() []metav1.TableColumnDefinition {
	doc, object := corev1.Event{}.SwaggerDoc(), corev1.ObjectReference{}.SwaggerDoc()
	name := nameColumn()
	name.Priority = 1
	return []metav1.TableColumnDefinition{
		column("Last Seen", "string", doc["lastTimestamp"]),
		column("Type", "string", doc["type"]),
		column("Reason", "string", doc["reason"]),
		column("Object", "string", doc["involvedObject"]),
		wideColumn("Subobject", "string", object["fieldPath"]),
		wideColumn("Source", "string", doc["source"]),
		column("Message", "string", doc["message"]),
		wideColumn("First Seen", "string", doc["firstTimestamp"]),
		wideColumn("Count", "string", doc["count"]),
		name,
	}
}

func eventCells(obj Object) []any {
	event := obj.(*corev1.Event)
	first := firstTime(event.FirstTimestamp.Time, event.EventTime.Time)
	last := firstTime(event.LastTimestamp.Time, first)
	count := int64(event.Count)
	if event.Series != nil {
		last, count = event.Series.LastObservedTime.Time, int64(event.Series.Count)
	} else if count == 0 {
		count = 1
	}
	target := strings.ToLower(event.InvolvedObject.Kind)
	if event.InvolvedObject.Name != "" {
		target = fmt.Sprintf("%s/%s", target, event.InvolvedObject.Name)
	}
	return []any{
		ageSince(last), event.Type, event.Reason, target, event.InvolvedObject.FieldPath, eventSource(event),
		strings.TrimSpace(event.Message), ageSince(first), count, event.Name,
	}
}

func firstTime(first, otherwise time.Time) time.Time {
	if first.IsZero() {
		return otherwise
	}
	return first
}

// eventSource is "kubelet, node-1".
func eventSource(event *corev1.Event) string {
	component, host := event.Source.Component, event.Source.Host
	if component == "" {
		component = event.ReportingController
	}
	if host == "" {
		host = event.ReportingInstance
	}
	if host == "" {
		return component
	}
	return component + ", " + host
}
