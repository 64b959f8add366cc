// Package iptables makes the kernel's rules equal to a plan, with kube-proxy's chains: what `iptables-save` prints in a
// node is what the textbooks show.
//
//	PREROUTING, OUTPUT ─► KUBE-SERVICES ─► KUBE-SVC-… (ClusterIP) ───────────────┐
//	                          │                                                  ├─► KUBE-SEP-… ─► DNAT
//	                          ├─► KUBE-FW-… ─► KUBE-EXT-… (load balancer) ─┬─────┘
//	                          └─► KUBE-NODEPORTS ─► KUBE-EXT-… (node port) ┴─► KUBE-SVL-… (only this node's endpoints)
//	POSTROUTING ─► KUBE-POSTROUTING: masquerades what KUBE-MARK-MASQ marked
//	INPUT, FORWARD, OUTPUT ─► KUBE-SERVICES, KUBE-EXTERNAL-SERVICES: refuse what has no endpoints
//
// A plan becomes text (rules.go, base.go: pure), the text is compared with what is there (state.go for changed Services,
// replace.go for everything: pure), and the difference is a bounded number of transactions (transaction.go), which
// iptables-restore applies (restore.go). Start reading at Backend.
//
// Rules are written exactly as iptables-save prints them. So the rules that a former process left are recognised and left
// alone, and a change by someone else is found by comparing text.
//
// Caveats:
//   - Shared chains are sorted by Service while they have few rules; in long ones new rules come first and the order of
//     the rest stays. Rules of different Services never match the same packet, so that the order does not matter.
//   - ip6tables is not touched.
package iptables
