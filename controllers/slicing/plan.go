package slicing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Owner is the object that slices are written for, and what they all carry because of it.
type Owner struct {
	Namespace string
	Name      string // of the Service
	Reference metav1.OwnerReference
	Labels    map[string]string // all of a slice's labels
	// Annotations are all of a slice's annotations but the trigger time; nil leaves those of existing slices alone.
	Annotations map[string]string
	Limit       int // of endpoints in a slice
	// Required address types have a slice even if it is empty.
	Required []discoveryv1.AddressType
}

// Member is an endpoint with the ports that it has.
type Member struct {
	AddressType discoveryv1.AddressType
	Ports       []discoveryv1.EndpointPort
	Endpoint    discoveryv1.Endpoint
}

// Changes are what makes the slices right. Updated slices carry the resource version of the one they replace.
type Changes struct {
	Create, Update, Delete []*discoveryv1.EndpointSlice
}

// Empty says whether there is nothing to write.
func (c *Changes) Empty() bool { return len(c.Create)+len(c.Update)+len(c.Delete) == 0 }

// group is the endpoints that may share a slice.
type group struct {
	addressType discoveryv1.AddressType
	ports       []discoveryv1.EndpointPort
	wanted      map[string]discoveryv1.Endpoint // by identity
	order       []string                        // of the identities
	existing    []*discoveryv1.EndpointSlice
}

// Plan compares the wanted members with the existing slices. Slices that another owner's reference marks are deleted:
// they belong to a Service of the same name that is gone. Endpoints stay in the slice they are in; new ones fill slices
// that are written anyway first, then the fullest slice that takes all that are left, else a new one.
func Plan(owner Owner, members []Member, existing []*discoveryv1.EndpointSlice) Changes {
	groups := groupMembers(members)
	var changes Changes
	for _, slice := range sortedByName(existing) {
		if !ownedBy(slice, owner.Reference) {
			changes.Delete = append(changes.Delete, slice)
			continue
		}
		key := groupKey(slice.AddressType, slice.Ports)
		if groups[key] == nil {
			groups[key] = &group{addressType: slice.AddressType, ports: slice.Ports}
		}
		groups[key].existing = append(groups[key].existing, slice)
	}
	kept := map[discoveryv1.AddressType]int{}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		kept[groups[key].addressType] += planGroup(owner, groups[key], &changes)
	}
	for _, addressType := range owner.Required {
		if kept[addressType] == 0 {
			requirePlaceholder(owner, addressType, &changes)
		}
	}
	recycle(owner, &changes)
	return changes
}

func groupMembers(members []Member) map[string]*group {
	groups := map[string]*group{}
	for _, member := range members {
		key := groupKey(member.AddressType, member.Ports)
		if groups[key] == nil {
			groups[key] = &group{addressType: member.AddressType, ports: member.Ports, wanted: map[string]discoveryv1.Endpoint{}}
		}
		id := identity(&member.Endpoint)
		if _, twice := groups[key].wanted[id]; !twice {
			groups[key].order = append(groups[key].order, id)
		}
		groups[key].wanted[id] = member.Endpoint
	}
	return groups
}

// planGroup adds the changes of one group and returns how many slices it will have.
func planGroup(owner Owner, g *group, changes *Changes) int {
	var updated, unchanged []*discoveryv1.EndpointSlice
	placed := map[string]bool{}
	for _, slice := range g.existing {
		endpoints, changed := keepWanted(slice, g.wanted, placed)
		switch {
		case len(endpoints) == 0:
			changes.Delete = append(changes.Delete, slice)
		case changed || !owner.dressed(slice):
			updated = append(updated, owner.rewrite(slice, endpoints))
		default:
			unchanged = append(unchanged, slice)
		}
	}
	var missing []discoveryv1.Endpoint
	for _, id := range g.order {
		if !placed[id] {
			missing = append(missing, g.wanted[id])
		}
	}
	slices.SortStableFunc(updated, func(a, b *discoveryv1.EndpointSlice) int {
		return cmp.Compare(len(b.Endpoints), len(a.Endpoints))
	})
	for _, slice := range updated {
		missing = fill(slice, missing, owner.Limit)
	}
	created := 0
	for len(missing) > 0 {
		slice := owner.newSlice(g.addressType, g.ports)
		if at := fullestFor(unchanged, len(missing), owner.Limit); at >= 0 {
			slice = owner.rewrite(unchanged[at], slices.Clone(unchanged[at].Endpoints))
			updated = append(updated, slice)
			unchanged = slices.Delete(unchanged, at, at+1)
		} else {
			changes.Create = append(changes.Create, slice)
			created++
		}
		missing = fill(slice, missing, owner.Limit)
	}
	changes.Update = append(changes.Update, updated...)
	return len(updated) + len(unchanged) + created
}

// keepWanted returns the slice's endpoints that are wanted and in no slice before it, as they should be now.
func keepWanted(slice *discoveryv1.EndpointSlice, wanted map[string]discoveryv1.Endpoint, placed map[string]bool) (kept []discoveryv1.Endpoint, changed bool) {
	for i := range slice.Endpoints {
		id := identity(&slice.Endpoints[i])
		want, ok := wanted[id]
		if !ok || placed[id] {
			changed = true
			continue
		}
		placed[id] = true
		kept = append(kept, want)
		changed = changed || !sameEndpoint(want, slice.Endpoints[i])
	}
	return kept, changed
}

func fill(slice *discoveryv1.EndpointSlice, missing []discoveryv1.Endpoint, limit int) []discoveryv1.Endpoint {
	room := min(max(0, limit-len(slice.Endpoints)), len(missing))
	slice.Endpoints = append(slice.Endpoints, missing[:room]...)
	return missing[room:]
}

// fullestFor is the index of the fullest slice that has room for count more endpoints, -1 if none has.
func fullestFor(candidates []*discoveryv1.EndpointSlice, count, limit int) int {
	best := -1
	for i, slice := range candidates {
		if len(slice.Endpoints)+count <= limit && (best < 0 || len(slice.Endpoints) > len(candidates[best].Endpoints)) {
			best = i
		}
	}
	return best
}

// requirePlaceholder keeps or makes an empty slice without ports.
func requirePlaceholder(owner Owner, addressType discoveryv1.AddressType, changes *Changes) {
	for i, slice := range changes.Delete {
		if slice.AddressType == addressType && len(slice.Endpoints) == 0 && len(slice.Ports) == 0 &&
			ownedBy(slice, owner.Reference) && owner.dressed(slice) {
			changes.Delete = slices.Delete(changes.Delete, i, i+1)
			return
		}
	}
	changes.Create = append(changes.Create, owner.newSlice(addressType, nil))
}

// recycle turns pairs of a slice to create and one to delete into an update: one write instead of two, and never a
// moment without endpoints.
func recycle(owner Owner, changes *Changes) {
	var creating []*discoveryv1.EndpointSlice
	for _, slice := range changes.Create {
		at := slices.IndexFunc(changes.Delete, func(old *discoveryv1.EndpointSlice) bool {
			return old.AddressType == slice.AddressType && ownedBy(old, owner.Reference)
		})
		if at < 0 {
			creating = append(creating, slice)
			continue
		}
		reused := owner.rewrite(changes.Delete[at], slice.Endpoints)
		reused.Ports = slice.Ports
		changes.Update = append(changes.Update, reused)
		changes.Delete = slices.Delete(changes.Delete, at, at+1)
	}
	changes.Create = creating
}

func (o *Owner) newSlice(addressType discoveryv1.AddressType, ports []discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	prefix := o.Name + "-"
	if len(validation.IsDNS1123Subdomain(strings.TrimSuffix(prefix, "-")+"-x")) > 0 {
		prefix = o.Name
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.Namespace, GenerateName: prefix, Labels: maps.Clone(o.Labels),
			Annotations: maps.Clone(o.Annotations), OwnerReferences: []metav1.OwnerReference{o.Reference},
		},
		AddressType: addressType,
		Ports:       ports,
		Endpoints:   []discoveryv1.Endpoint{},
	}
}

// rewrite returns a copy of an existing slice with other endpoints.
func (o *Owner) rewrite(slice *discoveryv1.EndpointSlice, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	changed := slice.DeepCopy()
	changed.Endpoints = endpoints
	changed.Labels = maps.Clone(o.Labels)
	if o.Annotations != nil {
		changed.Annotations = maps.Clone(o.Annotations)
	}
	return changed
}

// dressed says whether a slice has the labels and annotations that it should have.
func (o *Owner) dressed(slice *discoveryv1.EndpointSlice) bool {
	if !maps.Equal(slice.Labels, o.Labels) {
		return false
	}
	if o.Annotations == nil {
		return true
	}
	annotations := maps.Clone(slice.Annotations)
	delete(annotations, corev1.EndpointsLastChangeTriggerTime)
	return maps.Equal(annotations, o.Annotations)
}

func ownedBy(slice *discoveryv1.EndpointSlice, reference metav1.OwnerReference) bool {
	return slices.ContainsFunc(slice.OwnerReferences, func(other metav1.OwnerReference) bool {
		return other.UID == reference.UID && other.Kind == reference.Kind
	})
}

func sortedByName(existing []*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice {
	return slices.SortedFunc(slices.Values(existing), func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
}

// groupKey is equal for slices whose endpoints could be in one: same address type, same ports in whatever order.
func groupKey(addressType discoveryv1.AddressType, ports []discoveryv1.EndpointPort) string {
	parts := make([]string, 0, len(ports))
	for _, port := range ports {
		parts = append(parts, fmt.Sprintf("%s/%s/%d/%s", value(port.Name), value(port.Protocol), value(port.Port), value(port.AppProtocol)))
	}
	slices.Sort(parts)
	return string(addressType) + " " + strings.Join(parts, " ")
}

// identity is what makes an endpoint the same one when its conditions change.
func identity(endpoint *discoveryv1.Endpoint) string {
	var target corev1.ObjectReference
	if endpoint.TargetRef != nil {
		target = *endpoint.TargetRef
	}
	return strings.Join([]string{strings.Join(endpoint.Addresses, ","), value(endpoint.Hostname), target.Kind, target.Namespace, target.Name, string(target.UID)}, " ")
}

// sameEndpoint ignores the resource version of the Pod: it changes without meaning anything here.
func sameEndpoint(a, b discoveryv1.Endpoint) bool {
	for _, endpoint := range []*discoveryv1.Endpoint{&a, &b} {
		if endpoint.TargetRef != nil && endpoint.TargetRef.ResourceVersion != "" {
			target := *endpoint.TargetRef
			target.ResourceVersion = ""
			endpoint.TargetRef = &target
		}
	}
	return apiequality.Semantic.DeepEqual(a, b)
}

func value[T any](pointer *T) T {
	var zero T
	if pointer == nil {
		return zero
	}
	return *pointer
}
