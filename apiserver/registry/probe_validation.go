package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateLivenessProbe checks liveness and startup probes.
func validateLivenessProbe(path *field.Path, probe *corev1.Probe) field.ErrorList {
	errs := validateProbe(path, probe)
	if probe != nil && probe.SuccessThreshold != 1 {
		errs = append(errs, field.Invalid(path.Child("successThreshold"), probe.SuccessThreshold, "must be 1"))
	}
	return errs
}

func validateReadinessProbe(path *field.Path, probe *corev1.Probe) field.ErrorList {
	errs := validateProbe(path, probe)
	if probe != nil && probe.TerminationGracePeriodSeconds != nil {
		errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), probe.TerminationGracePeriodSeconds, "must not be set for readinessProbes"))
	}
	return errs
}

func validateProbe(path *field.Path, probe *corev1.Probe) field.ErrorList {
	if probe == nil {
		return nil
	}
	errs := validateHandlers(path, []handler{
		execHandler(probe.Exec), httpGetHandler(probe.HTTPGet), tcpSocketHandler(probe.TCPSocket), grpcHandler(probe.GRPC),
	})
	for _, number := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", probe.InitialDelaySeconds}, {"timeoutSeconds", probe.TimeoutSeconds},
		{"periodSeconds", probe.PeriodSeconds}, {"successThreshold", probe.SuccessThreshold},
		{"failureThreshold", probe.FailureThreshold},
	} {
		errs = append(errs, apivalidation.ValidateNonnegativeField(int64(number.value), path.Child(number.name))...)
	}
	if grace := probe.TerminationGracePeriodSeconds; grace != nil && *grace <= 0 {
		errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), *grace, "must be greater than 0"))
	}
	return errs
}

func validateLifecycleHandler(path *field.Path, lifecycle *corev1.LifecycleHandler, grace *int64) field.ErrorList {
	if lifecycle == nil {
		return nil
	}
	return validateHandlers(path, []handler{
		execHandler(lifecycle.Exec), httpGetHandler(lifecycle.HTTPGet), tcpSocketHandler(lifecycle.TCPSocket),
		sleepHandler(lifecycle.Sleep, grace),
	})
}

// handler is one of the ways a probe or a lifecycle hook may act; validate is nil if it is not used.
type handler struct {
	name     string
	validate func(path *field.Path) field.ErrorList
}

// validateHandlers requires exactly one.
func validateHandlers(path *field.Path, handlers []handler) field.ErrorList {
	var errs field.ErrorList
	found := false
	for _, handler := range handlers {
		switch {
		case handler.validate == nil:
		case found:
			errs = append(errs, field.Forbidden(path.Child(handler.name), "may not specify more than 1 handler type"))
		default:
			found = true
			errs = append(errs, handler.validate(path.Child(handler.name))...)
		}
	}
	if !found {
		errs = append(errs, field.Required(path, "must specify a handler type"))
	}
	return errs
}

func execHandler(exec *corev1.ExecAction) handler {
	if exec == nil {
		return handler{}
	}
	return handler{"exec", func(path *field.Path) field.ErrorList {
		if len(exec.Command) == 0 {
			return field.ErrorList{field.Required(path.Child("command"), "")}
		}
		return nil
	}}
}

func httpGetHandler(get *corev1.HTTPGetAction) handler {
	if get == nil {
		return handler{}
	}
	return handler{"httpGet", func(path *field.Path) field.ErrorList {
		var errs field.ErrorList
		if get.Path == "" {
			errs = append(errs, field.Required(path.Child("path"), ""))
		}
		errs = append(errs, validatePortNumberOrName(path.Child("port"), get.Port)...)
		errs = append(errs, optionallyOneOf(path.Child("scheme"), &get.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
		for _, header := range get.HTTPHeaders {
			errs = append(errs, invalidFor(path.Child("httpHeaders"), header.Name, validation.IsHTTPHeaderName(header.Name))...)
		}
		return errs
	}}
}

func tcpSocketHandler(socket *corev1.TCPSocketAction) handler {
	if socket == nil {
		return handler{}
	}
	return handler{"tcpSocket", func(path *field.Path) field.ErrorList {
		return validatePortNumberOrName(path.Child("port"), socket.Port)
	}}
}

func grpcHandler(grpc *corev1.GRPCAction) handler {
	if grpc == nil {
		return handler{}
	}
	return handler{"grpc", func(path *field.Path) field.ErrorList {
		return validatePortNumberOrName(path.Child("port"), intstr.FromInt32(grpc.Port))
	}}
}

func sleepHandler(sleep *corev1.SleepAction, grace *int64) handler {
	if sleep == nil {
		return handler{}
	}
	return handler{"sleep", func(path *field.Path) field.ErrorList {
		if grace != nil && (sleep.Seconds < 0 || sleep.Seconds > *grace) {
			return field.ErrorList{field.Invalid(path, sleep.Seconds, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace))}
		}
		return nil
	}}
}
