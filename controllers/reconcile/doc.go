// Package reconcile holds the loop that every controller is: a queue of keys, and a function that makes the world
// right for one key. A key that is added while it is being worked on is worked on once more afterwards; never twice at
// the same time. The first try is immediate; only failures wait (5 ms, doubled up to 30 s).
package reconcile
