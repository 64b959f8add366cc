// Command lesson runs the exercises: every command of the READMEs beside it, in the order in which a learner meets them, on a
// real cluster.
//
// In: README.md files with console blocks. Out: a transcript, and whether each command printed what its README says.
//
//	```console
//	# two Deployments, with a Pod each
//	$ kubectl apply -f sleep/sleep1.yaml -f sleep/sleep2.yaml
//	deployment.apps/sleep-1 created
//	deployment.apps/sleep-2 created
//	```
//
// All commands of a README run in one bash, in the examples folder. Names, addresses and times that differ from run to run are
// compared by their form (see compare.go); "…" in a README's output stands for anything. A command that ends in & goes on in
// the background, and the lesson waits until the output shown has appeared. A command must succeed, unless the output shown
// ends with kubectl's "command terminated with exit code N".
//
// Start reading at readme.go, then session.go. `make demo` and `make e2e` run it.
package main
