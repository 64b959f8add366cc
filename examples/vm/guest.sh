#!/bin/bash
# What the virtual machine of run.sh does: a cluster before a reboot, after it and in every proxy mode, the kernel tests, the
# faults, the exercises in every proxy mode. The file parts says which of these.
set -Eeuo pipefail
export PATH=/kubelite/bin:$PATH HOME=/root KUBELITE_REQUIRE_ROOT=1 KUBELITE_TEST_PROGRAM=/kubelite/bin/program
cd /kubelite
modes="iptables nftables ipvs userspace"
say() { echo "--- $* ($(cut -d. -f1 /proc/uptime) s after boot)"; }
fail() {
	echo "failed: line $1 of guest.sh"
	dmesg --level emerg,alert,crit,err,warn | tail -20
	tail -n 20 /var/lib/kubelite/*/logs/*.log
	systemctl poweroff
	exit 1
}
trap 'fail $LINENO' ERR
part() { grep -qw "$1" parts; }

# answers calls the Service as a process of node-1 does, and from there its node port, until each answers.
answers() {
	local address
	address=$(kubectl get service numbers-api -o jsonpath='{.spec.clusterIP}')
	kubelite node exec node-1 -- curl --silent --show-error --max-time 10 --retry 30 --retry-delay 1 --retry-all-errors \
		--output /dev/null "http://$address/"
}

ln -sf kubelite bin/kubectl
if part cluster && [ ! -e /var/lib/kubelite ]; then
	say "$(uname -r), $(stat -f -c %T /sys/fs/cgroup) on /sys/fs/cgroup"
	# in a unit of its own, which systemd clears when up has ended: the cluster must stay
	systemd-run --quiet --wait --pipe --setenv=HOME=/root bin/kubelite up
	kubectl apply -f examples/sleep/sleep1.yaml -f examples/numbers/api.yaml
	kubectl rollout status deployment/sleep-1 deployment/numbers-api --timeout 5m
	say "reboot"
	systemctl reboot
	exit
fi
if part cluster; then
	say "up after the reboot"
	kubelite up
	kubectl wait --for=condition=Ready pod --all --all-namespaces --timeout 5m
	kubectl get pods -o wide
	kubectl get pods -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}' | grep -q '^[1-9 ]*$'
	kubectl expose deployment numbers-api --port 80 --target-port 80
	for mode in $modes iptables; do
		say "the running cluster in mode $mode"
		kubelite up --proxy-mode "$mode"
		answers
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
		[ "$package" != ./proxy/behaviour ] || tests='^TestNetnsMatrix$/^ipvs$'
		say "$package"
		(cd "$package" && ./kernel.test -test.v -test.timeout 20m -test.run "$tests" 2>&1 |
			grep --line-buffered -E '^ *--- |PASS|FAIL|^ +[a-z_]+\.go|^panic') || failed+=("$package")
	done
fi
if part lessons; then
	for mode in $modes; do
		lessons="sleep numbers numbers-outside external kubia"
		[ "$mode" != iptables ] || lessons+=" rules" # which shows the rules of this mode
		say "the exercises in mode $mode: $lessons"
		KUBELITE_PROXY_MODE=$mode lesson $lessons >lesson.log 2>&1 || failed+=("exercises in mode $mode")
		tail -n 5 lesson.log
	done
fi
say "the end"
[ ${#failed[@]} -gt 0 ] && echo "failed: ${failed[*]}" || echo "everything passed"
systemctl poweroff
