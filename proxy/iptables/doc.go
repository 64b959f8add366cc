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
// A plan becomes text (rules.go, base.go, layout.go: pure), the text is compared with what is there (state.go for changed
// Services, replace.go for everything: pure), and the difference is a bounded number of transactions (transaction.go), which
// iptables-restore or ip6tables-restore applies (tool.go). Only what is to be deleted among many Services goes to nf_tables itself,
// by handle (deletion.go, handles.go). Start reading at Backend.
//
// Rules are written exactly as iptables-save prints them. So the rules that a former process left are recognised and left
// alone, and a change by someone else is found by comparing, which generation.go makes rare. No transaction takes a rule
// from a Service that keeps it, so that a process may end between any two.
//
// For the same objects the chains, and the rules in each of them, are kube-proxy's; testdata/README.md says how that was
// found. On purpose different are:
//   - The order of Services in the chains that all share: kube-proxy leaves it to chance. Here they are sorted while they
//     are few; in long chains new rules come first. Rules of different Services never match the same packet.
//   - Rules that only count packets (-m nfacct, where the kernel has it) are left out: nothing here reads the counters.
//   - Above 1,000 endpoints both leave out the comments of endpoints; kube-proxy also counts endpoints that do not serve,
//     and applies it to Services as they change. Here all are rewritten at once.
//   - A loadBalancerSourceRange that holds any address of the node admits the node; kube-proxy looks at its first one.
//
// Caveats: the kernel's nf_tables looks at every rule that the nat table's hooks lead to whenever a rule with a target is added,
// once for PREROUTING and once for OUTPUT: 0.1 s of a change's 0.13 s at 10,000 Services of five endpoints. Deleting needs no such
// look. x_tables reads and replaces the whole table for every change: 59 MB then, 0.5 s or more. nftables mode has no such costs.
package iptables
