// Package auth answers who sends a request and whether they may: the counterpart of the API server's authentication
// and authorization chains (x509, service-account tokens; the Node authorizer, NodeRestriction and RBAC's default roles).
//
// In: an *http.Request, then the Attributes of what it asks for. Out: a User, then yes or no with a reason. Forbidden
// and Unauthorized make the status errors in Kubernetes' words.
//
// Start reading at authenticator.go, then policy.go: the whole policy is the one table there. token.go signs and
// verifies service-account tokens, impersonation.go is kubectl's --as.
//
// Caveats: there are no RBAC kinds yet, so the policy cannot be changed from outside. Service accounts outside
// kube-system read everything in their own namespace but Secrets, where Kubernetes gives them nothing by default: the
// textbooks' in-cluster clients then work without Roles. Agents read all Secrets and ConfigMaps, not only their Pods'.
// Client certificates are trusted as the TLS handshake verified them: the listener's tls.Config must have ClientCAs and
// ClientAuth: tls.VerifyClientCertIfGiven.
//
// Deliberately missing: SubjectAccessReview and TokenReview, webhooks, token revocation other than by deleting the
// ServiceAccount or Pod.
package auth
