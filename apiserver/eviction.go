package apiserver

import (
	"net/http"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// evict answers POST of a Pod's /eviction. There are no PodDisruptionBudgets, so it is a deletion with the options that the
// Eviction holds.
func (c *call) evict() error {
	eviction := new(policyv1.Eviction)
	options, format, err := c.readPosted(policyv1.SchemeGroupVersion.WithKind("Eviction"), eviction)
	if err != nil {
		return err
	}
	if err := c.matchRequest(eviction); err != nil {
		return err
	}
	deletion := eviction.DeleteOptions
	if deletion == nil {
		deletion = new(metav1.DeleteOptions)
	}
	if options.dryRun {
		deletion.DryRun = []string{metav1.DryRunAll}
	}
	if _, err := c.deleteObject(c.key(), deletion); err != nil {
		return err
	}
	writeObject(c.w, c.r, http.StatusCreated, format, successStatus(http.StatusCreated))
	return nil
}
