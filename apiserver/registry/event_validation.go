package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateEvent checks Events of both groups. One with an eventTime was written by a new recorder and has to be complete.
func validateEvent(event *corev1.Event) field.ErrorList {
	var errs field.ErrorList
	object, namespace := event.InvolvedObject.Namespace, event.Namespace
	agrees := object == namespace || (object == "" && namespace == metav1.NamespaceDefault)
	if !event.EventTime.IsZero() {
		agrees = object != "" || namespace == metav1.NamespaceDefault || namespace == metav1.NamespaceSystem
	}
	if !agrees {
		errs = append(errs, field.Invalid(field.NewPath("involvedObject", "namespace"), object, "does not match event.namespace"))
	}
	if !event.EventTime.IsZero() {
		errs = append(errs, validateCompleteEvent(event)...)
	}
	return append(errs, validateDNSSubdomain(field.NewPath("namespace"), namespace)...)
}

func validateCompleteEvent(event *corev1.Event) field.ErrorList {
	const maxText, maxMessage = 128, 1024
	var errs field.ErrorList
	controller := field.NewPath("reportingController")
	if event.ReportingController == "" {
		errs = append(errs, field.Required(controller, ""))
	}
	errs = append(errs, validateQualifiedName(controller, event.ReportingController)...)
	atMost := func(name, value string, limit int) {
		if len(value) > limit {
			errs = append(errs, field.Invalid(field.NewPath(name), "", fmt.Sprintf("can have at most %v characters", limit)))
		}
	}
	for _, text := range []struct{ name, value string }{
		{"reportingInstance", event.ReportingInstance}, {"action", event.Action}, {"reason", event.Reason},
	} {
		if text.value == "" {
			errs = append(errs, field.Required(field.NewPath(text.name), ""))
		}
		atMost(text.name, text.value, maxText)
	}
	atMost("message", event.Message, maxMessage)
	return errs
}

// validateNewEventsV1 is stricter: events.k8s.io/v1 has no place for what old recorders wrote.
func validateNewEventsV1(event *corev1.Event) field.ErrorList {
	errs := append(validateEvent(event), validateEventSeries(event)...)
	if event.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if event.Type != corev1.EventTypeNormal && event.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", fmt.Sprintf("has invalid value: %v", event.Type)))
	}
	for _, deprecated := range []struct {
		name string
		set  bool
	}{
		{"firstTimestamp", !event.FirstTimestamp.IsZero()}, {"lastTimestamp", !event.LastTimestamp.IsZero()},
		{"count", event.Count != 0}, {"source", event.Source != corev1.EventSource{}},
	} {
		if deprecated.set {
			errs = append(errs, field.Invalid(field.NewPath(deprecated.name), "", "needs to be unset"))
		}
	}
	return errs
}

// validateEventsV1Update lets only the series of an Event grow.
func validateEventsV1Update(event, old *corev1.Event) field.ErrorList {
	errs := validateEvent(event)
	if !equality.Semantic.DeepEqual(event.Series, old.Series) {
		errs = append(errs, validateEventSeries(event)...)
	}
	for _, change := range []struct {
		name       string
		value, old any
	}{
		{"involvedObject", event.InvolvedObject, old.InvolvedObject}, {"reason", event.Reason, old.Reason},
		{"message", event.Message, old.Message}, {"source", event.Source, old.Source},
		{"firstTimestamp", event.FirstTimestamp, old.FirstTimestamp}, {"lastTimestamp", event.LastTimestamp, old.LastTimestamp},
		{"count", event.Count, old.Count}, {"type", event.Type, old.Type}, {"eventTime", event.EventTime, old.EventTime},
		{"action", event.Action, old.Action}, {"related", event.Related, old.Related},
		{"reportingController", event.ReportingController, old.ReportingController},
		{"reportingInstance", event.ReportingInstance, old.ReportingInstance},
	} {
		errs = append(errs, apivalidation.ValidateImmutableField(change.value, change.old, field.NewPath(change.name))...)
	}
	return errs
}

func validateEventSeries(event *corev1.Event) field.ErrorList {
	if event.Series == nil {
		return nil
	}
	var errs field.ErrorList
	if event.Series.Count < 2 {
		errs = append(errs, field.Invalid(field.NewPath("series.count"), "", "should be at least 2"))
	}
	if event.Series.LastObservedTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("series.lastObservedTime"), ""))
	}
	return errs
}
