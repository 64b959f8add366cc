// Command numbers-web is a page with a button that shows a random number: kubelite's stand-in for the images
// kiamol/ch03-numbers-web and kiamol/ch03-numbers-web:v2 of "Learn Kubernetes in a Month of Lunches".
//
//	GET /   the page
//	POST /  the page with a number, which it has asked the API for, or with the news that the API is not available
//
// It listens on port 80. The environment variable RngApi__Url is the API's address. With -version v2 the page looks different,
// so that two versions can be told apart in an update.
//
// SIGTERM ends it after the requests in progress.
package main
