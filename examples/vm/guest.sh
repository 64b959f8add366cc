#!/bin/bash
# What the virtual machine of run.sh does: a cluster before a reboot, after it and in every proxy mode, the kernel tests, the
# faults, the exercises in every proxy mode. The file settings says which of these.
set -Eeuo pipefail
export PATH=/kubelite/bin:$PATH HOME=/root KUBELITE_REQUIRE_ROOT=1 KUBELITE_TEST_PROGRAM=/kubelite/bin/program
cd /kubelite
. ./settings
say() { echo "--- $* ($(cut -d. -f1 /proc/uptime) s after boot)"; }
fail() {
	echo "failed: line $1 of guest.sh"
	dmesg --level emerg,alert,crit,err,warn | tail -20
	tail -n 20 /var/lib/kubelite/*/logs/*.log
	systemctl poweroff
	exit 1
}
trap 'fail $LINENO' ERR
part() { [[ " $parts " == *" $1 "* ]]; }

# answers calls the Service from a node, the laptop and a Pod, each in a way of its own, until it answers.
answers() {
	local cluster_ip node_port balancer
	read -r cluster_ip node_port balancer <<<"$(kubectl get service numbers-api \
		-o jsonpath='{.spec.clusterIP} {.spec.ports[0].nodePort} {.status.loadBalancer.ingress[0].ip}')"
	local get="curl --silent --show-error --max-time 10 --retry 30 --retry-delay 1 --retry-all-errors"
	for call in "kubelite node exec node-1 -- $get http://$cluster_ip/rng" "kubelite laptop -- $get http://192.168.1.2:$node_port/rng" \
		"kubelite laptop -- $get http://$balancer/rng" "kubectl exec deploy/sleep-1 -- curl -s http://numbers-api/rng"; do
		[[ $($call) =~ ^[0-9]+$ ]] || { echo "no number from: $call"; return 1; }
	done
}

# look prints what docs/ipvs.md shows of mode ipvs.
look() {
	for command in "ipvsadm -ln" "ip address show kube-ipvs0" "ipset list KUBE-CLUSTER-IP" "iptables -t nat -S KUBE-IPVS-SERVICES"; do
		echo "\$ sudo kubelite node exec node-1 -- $command"
		kubelite node exec node-1 -- $command
	done
}

ln -sf kubelite bin/kubectl
if part cluster && [ ! -e /var/lib/kubelite ]; then
	say "$(uname -r), $(stat -f -c %T /sys/fs/cgroup) on /sys/fs/cgroup"
	# in a unit of its own, which systemd clears when up has ended: the cluster must stay
	systemd-run --quiet --wait --pipe --setenv=HOME=/root bin/kubelite up --timeout 10m
	kubectl apply -f examples/sleep/sleep1.yaml -f examples/numbers/api.yaml
	kubectl rollout status deployment/sleep-1 deployment/numbers-api --timeout 5m
	say "reboot"
	systemctl reboot
	exit
fi
if part cluster; then
	say "up after the reboot"
	kubelite up --timeout 10m
	kubectl wait --for=condition=Ready pod --all --all-namespaces --timeout 5m
	kubectl get pods -o wide
	kubectl get pods -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}' | grep -q '^[1-9 ]*$'
	kubectl expose deployment numbers-api --type LoadBalancer --port 80 --target-port 80
	kubectl wait --for=jsonpath='{.status.loadBalancer.ingress}' service/numbers-api --timeout 5m
	for mode in iptables nftables ipvs userspace iptables; do
		say "the running cluster in mode $mode"
		kubelite up --proxy-mode "$mode" --timeout 10m
		answers
		[ "$mode" != ipvs ] || look
	done
	kubelite status
	kubelite down --purge
	for left in /sys/fs/cgroup/kubelite /run/kubelite /run/netns/kubelite*; do
		[ ! -e "$left" ]
	done
fi

failed=()
if part kernel; then
	for binary in $(find . -name kernel.test | sort); do
		package=$(dirname "$binary")
		tests='^TestNetns|^TestKill|^TestDownAndUp$' # the other faults are the same on every kernel
		# every other mode's behaviour is the same on every kernel
		[ "$package" != ./proxy/behaviour ] || tests='^TestNetns(Matrix|Affinity|KilledProxy.*|EditedRules.*|APIServerGone)$/^ipvs$'
		say "$package"
		(cd "$package" && ./kernel.test -test.v -test.timeout 60m -test.run "${chosen_tests:-$tests}" 2>&1 |
			grep --line-buffered -E '^ *--- |PASS|FAIL|^ +[a-z_]+\.go|^panic') || failed+=("$package")
	done
fi
if part lessons; then
	for mode in $modes; do
		lessons=${chosen_lessons:-sleep numbers numbers-outside} # those of `make demo`
		say "the exercises in mode $mode: $lessons"
		KUBELITE_PROXY_MODE=$mode lesson $lessons 2>&1 | tee lesson.log | grep --line-buffered '^\$ ' ||
			{ failed+=("exercises in mode $mode"); tail -n 40 lesson.log; }
		echo "$(grep -c '^\$ ' lesson.log) commands were run"
	done
fi
say "the end"
[ ${#failed[@]} -gt 0 ] && echo "failed: ${failed[*]}" || echo "everything passed"
systemctl poweroff
