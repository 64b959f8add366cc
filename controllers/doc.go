// Package controllers runs the control loops of the cluster, the scheduler among them, each in a folder of its own.
//
// Its Kubernetes counterparts are kube-controller-manager and kube-scheduler. In: objects watched through the API. Out:
// objects written through the API. Controllers know nothing of each other and of no process but the API server; given a
// rest.Config they work against any Kubernetes API server.
//
//	deployment, replicaset                              rollouts, and the Pods that they want
//	scheduler, podgc                                    which node a Pod runs on, and Pods without one
//	endpoint, endpointslice, endpointslicemirroring     where a Service leads
//	loadbalancer, nodeipam                              addresses for Services, ranges for nodes
//	nodelifecycle                                       nodes that are no longer heard of
//	namespace, garbagecollector                         deletion of what belongs to something deleted
//	serviceaccount                                      what every namespace has
//
// Start reading at run.go, then at any controller: each has the same shape. New connects handlers to shared informers, Run
// works on a queue of keys (package reconcile), sync reads what the informers have seen, lets pure functions decide, and
// writes. Events go through package events, ownership through package owner.
//
// Memory: all share one set of informers, without managed fields. Kinds that only the garbage collector looks at are
// watched as bare metadata.
//
// Deliberately missing: leader election (one process runs the controllers), Jobs, DaemonSets, StatefulSets and
// HorizontalPodAutoscalers (their kinds are not served).
package controllers
