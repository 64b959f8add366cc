// Package plantest makes random plans and random changes of them, for the tests and benchmarks of every proxy mode. The same
// seed makes the same plans.
//
// A World holds Services and EndpointSlices as an API server would: whatever is unique in a cluster (ClusterIPs, node ports,
// the ports of an external address) belongs to one Service at a time, but may pass from one to another within one change.
//
//	world := plantest.New(1, plantest.Options{Services: 20})
//	backend.Replace(ctx, world.Plan())
//	for range 50 {
//		backend.Update(ctx, world.Change())
//		// what the kernel holds must be what a new backend's Replace(ctx, world.Plan()) would write
//	}
//
// Start reading at World.
package plantest
