// Package events gives every controller a recorder of v1 Events, as `kubectl describe` shows them, over one shared
// queue: one goroutine writes all of them, and repeated ones are counted, as the Kubernetes controllers do.
//
// Writing is asynchronous and best effort: a controller never waits for an Event, and an Event that the API server
// refuses (its namespace is going away) is dropped.
package events
