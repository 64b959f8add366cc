package registry

import (
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
)

// eventToCore renames the fields; v1 and events.k8s.io/v1 Events have the same ones.
func eventToCore(event *eventsv1.Event) *corev1.Event {
	event = event.DeepCopy()
	core := &corev1.Event{
		ObjectMeta:          event.ObjectMeta,
		InvolvedObject:      event.Regarding,
		Reason:              event.Reason,
		Message:             event.Note,
		Source:              event.DeprecatedSource,
		FirstTimestamp:      event.DeprecatedFirstTimestamp,
		LastTimestamp:       event.DeprecatedLastTimestamp,
		Count:               event.DeprecatedCount,
		Type:                event.Type,
		EventTime:           event.EventTime,
		Action:              event.Action,
		Related:             event.Related,
		ReportingController: event.ReportingController,
		ReportingInstance:   event.ReportingInstance,
	}
	if event.Series != nil {
		core.Series = &corev1.EventSeries{Count: event.Series.Count, LastObservedTime: event.Series.LastObservedTime}
	}
	return core
}

func eventFromCore(core *corev1.Event) *eventsv1.Event {
	core = core.DeepCopy()
	event := &eventsv1.Event{
		ObjectMeta:               core.ObjectMeta,
		Regarding:                core.InvolvedObject,
		Reason:                   core.Reason,
		Note:                     core.Message,
		DeprecatedSource:         core.Source,
		DeprecatedFirstTimestamp: core.FirstTimestamp,
		DeprecatedLastTimestamp:  core.LastTimestamp,
		DeprecatedCount:          core.Count,
		Type:                     core.Type,
		EventTime:                core.EventTime,
		Action:                   core.Action,
		Related:                  core.Related,
		ReportingController:      core.ReportingController,
		ReportingInstance:        core.ReportingInstance,
	}
	if core.Series != nil {
		event.Series = &eventsv1.EventSeries{Count: core.Series.Count, LastObservedTime: core.Series.LastObservedTime}
	}
	return event
}
