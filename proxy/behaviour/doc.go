// Package behaviour holds the tests that every proxy mode passes alike: what a client of a Service sees, on a lab of two nodes
// with two Pods each and a laptop, in network namespaces. It has nothing but tests.
//
// The table of cases is the cross product of everything that a Service may be and every place that a client may be at
// (cases_test.go). What must happen is a pure function of the case, in the words of the Kubernetes documentation
// (expect_test.go); where a mode may differ, and why, stands in modes_test.go and nowhere else. matrix_netns_test.go plays the
// table: one real API server, the proxy of each node in a process of its own, and every case from its client's namespace.
//
// What only time or turns show is in alone_netns_test.go and stay_netns_test.go, with a Service for every client and way: that session
// affinity ends with its time-out and not before, that it is switched on a living Service, and that endpoints have turns.
//
// faults_netns_test.go kills proxies, edits their rules, takes the API server away and switches modes, under load.
//
// Start reading at TestNetnsMatrix, then expect.
//
// Caveat: a case that expects no answer waits 300 ms for one. On a machine that is slower than that it proves nothing, but never
// fails for it. pace_test.go says what such a machine can set.
package behaviour
