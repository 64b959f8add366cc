#!/bin/bash
# What the virtual machine of run.sh does: a cluster before a reboot and after it, the kernel tests, the faults, the exercises.
set -Eeuo pipefail
export PATH=/kubelite/bin:$PATH HOME=/root KUBELITE_REQUIRE_ROOT=1 KUBELITE_TEST_PROGRAM=/kubelite/bin/program
cd /kubelite
say() { echo "--- $* ($(cut -d. -f1 /proc/uptime) s after boot)"; }
fail() {
	echo "failed: line $1 of guest.sh"
	dmesg --level emerg,alert,crit,err,warn | tail -20
	tail -n 20 /var/lib/kubelite/*/logs/*.log
	systemctl poweroff
	exit 1
}
trap 'fail $LINENO' ERR

if [ ! -e /var/lib/kubelite ]; then
	say "$(uname -r), $(stat -f -c %T /sys/fs/cgroup) on /sys/fs/cgroup"
	ln -sf kubelite bin/kubectl
	# in a unit of its own, which systemd clears when up has ended: the cluster must stay
	systemd-run --quiet --wait --pipe --setenv=HOME=/root bin/kubelite up
	kubectl apply -f examples/sleep/sleep1.yaml -f examples/numbers/api.yaml
	kubectl rollout status deployment/sleep-1 deployment/numbers-api --timeout 5m
	say "reboot"
	systemctl reboot
	exit
fi

say "up after the reboot"
kubelite up
kubectl wait --for=condition=Ready pod --all --all-namespaces --timeout 5m
kubectl get pods -o wide
kubectl get pods -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}' | grep -q '^[1-9 ]*$'
kubelite status
kubelite down --purge
for left in /sys/fs/cgroup/kubelite /run/kubelite /run/netns/kubelite*; do
	[ ! -e "$left" ]
done

tests='^TestNetns|^TestKill|^TestDownAndUp$' # the other faults are the same on every kernel
failed=()
for package in nodeagent/runtime nodeagent/network nodeagent/announce nodeagent/volumes proxy proxy/iptables cli/lab examples/faults; do
	say "$package"
	(cd $package && ./kernel.test -test.v -test.run "$tests" 2>&1 | grep --line-buffered -E '^ *--- |PASS|FAIL|^ +[a-z_]+\.go|^panic') || failed+=("$package")
done
say "the exercises"
lesson sleep numbers numbers-outside external kubia rules >lesson.log 2>&1 || failed+=(exercises)
tail -n 5 lesson.log
say "the end"
[ ${#failed[@]} -gt 0 ] && echo "failed: ${failed[*]}" || echo "everything passed"
systemctl poweroff
