// Package faults holds the tests of what goes wrong: processes that are killed at any moment, a full disk, damaged files, taken
// ports, missing programs, commands at the same time, clusters side by side, and what learners get wrong.
//
// It has no code but tests. What is promised: what was acknowledged is kept, containers go on running and serving, and after
// `kubelite up` everything converges; every refusal names what is wrong and what to do; a purge leaves nothing.
package faults
