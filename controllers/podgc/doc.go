// Package podgc deletes Pods that nobody else will: those bound to a Node that no longer exists, those that were deleted
// before they got a Node, and the oldest finished ones when there are very many.
//
// Its Kubernetes counterpart is the pod garbage collector. In: Pods and Nodes. Out: Pods marked Failed and deleted by
// force. A missing Node is given a while to come back, and the API server is asked once more, before its Pods go.
//
// Start reading at verdict.go, which is pure.
package podgc
