package apiserver

// updateStatus answers PUT of /status: only the status changes.
func (c *call) updateStatus() error { return c.put("status", c.resource.Status) }

// patchStatus answers PATCH of /status.
func (c *call) patchStatus() error { return c.patchWith("status", c.resource.Status) }

// finalize answers PUT of a namespace's /finalize: only spec.finalizers change.
func (c *call) finalize() error { return c.put("finalize", c.resource.Finalize) }
