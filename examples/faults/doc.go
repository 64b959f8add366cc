// Package faults holds the tests of a cluster's crashes: processes that are killed while an exercise goes on.
//
// It has no code but tests. What is promised: what was acknowledged is kept, containers go on running and serving, and after
// `kubelite up` everything converges.
package faults
