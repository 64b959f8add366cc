package registry

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// invalidFor makes one error of each message; none of none.
func invalidFor(path *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, message := range messages {
		errs = append(errs, field.Invalid(path, value, message))
	}
	return errs
}

// oneOf requires a value among the supported ones, which are given sorted as Kubernetes lists them.
func oneOf[T ~string](path *field.Path, value T, supported ...T) field.ErrorList {
	switch {
	case value == "":
		return field.ErrorList{field.Required(path, "")}
	case !slices.Contains(supported, value):
		return field.ErrorList{field.NotSupported(path, value, supported)}
	}
	return nil
}

// optionallyOneOf is oneOf for a value that may be missing.
func optionallyOneOf[T ~string](path *field.Path, value *T, supported ...T) field.ErrorList {
	if value == nil || slices.Contains(supported, *value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, *value, supported)}
}

func validateDNSLabel(path *field.Path, value string) field.ErrorList {
	return invalidFor(path, value, validation.IsDNS1123Label(value))
}

func validateDNSSubdomain(path *field.Path, value string) field.ErrorList {
	return invalidFor(path, value, validation.IsDNS1123Subdomain(value))
}

func validateQualifiedName(path *field.Path, value string) field.ErrorList {
	return invalidFor(path, value, validation.IsQualifiedName(value))
}

func validateProtocol(path *field.Path, protocol corev1.Protocol) field.ErrorList {
	return oneOf(path, protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
}

func validatePortNumber(path *field.Path, port int32) field.ErrorList {
	return invalidFor(path, port, validation.IsValidPortNum(int(port)))
}

func validatePortNumberOrName(path *field.Path, port intstr.IntOrString) field.ErrorList {
	if port.Type == intstr.String {
		return invalidFor(path, port.StrVal, validation.IsValidPortName(port.StrVal))
	}
	return invalidFor(path, port.IntValue(), validation.IsValidPortNum(port.IntValue()))
}

// isQualified reports whether a name has a prefix: "example.com/name".
func isQualified(name string) bool {
	return strings.Contains(name, "/")
}

// seen reports whether a value was there before, and remembers it.
type seen[T comparable] map[T]bool

func (s seen[T]) before(value T) bool {
	known := s[value]
	s[value] = true
	return known
}

// oneOfEachFamily reports whether no two addresses are of one IP family.
func oneOfEachFamily(addresses []netip.Addr) bool {
	families := seen[corev1.IPFamily]{}
	for _, address := range addresses {
		if families.before(familyOf(address)) {
			return false
		}
	}
	return true
}

// appendAddress leaves out what is no address.
func appendAddress(addresses []netip.Addr, text string) []netip.Addr {
	if address, err := netip.ParseAddr(text); err == nil {
		return append(addresses, address)
	}
	return addresses
}
