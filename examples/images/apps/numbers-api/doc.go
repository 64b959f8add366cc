// Command numbers-api answers with a random number: kubelite's stand-in for the image kiamol/ch03-numbers-api of "Learn
// Kubernetes in a Month of Lunches".
//
//	GET /rng                                     a number from 0 to 99, as plain text, which is valid JSON as well
//	GET /sixeyed/kiamol/master/ch03/numbers/rng  the same: the textbook's site asks for this path
//	GET /healthz                                 200 and "Ok", or 500
//
// It listens on port 80. With the environment variable FailAfterCallCount=N it breaks down after N numbers, as the textbook's
// app does: the N-th call is the last one that gets a number, from then on /rng and /healthz answer 500, until it is restarted.
//
// SIGTERM ends it after the requests in progress.
package main
