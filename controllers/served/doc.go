// Package served tells which kinds an API server serves, for the controllers that deal with objects of every kind: garbage
// collection and the emptying of namespaces.
package served
