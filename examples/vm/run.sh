#!/bin/bash
# Boots Debian 12 with its own kernel, systemd and the unified control group hierarchy in a virtual machine without any network, and
# runs guest.sh there. As root; everything is kept in bin/vm. `make test-vm` has built bin/kubelite and bin/images.tar.
#
# With tcg, which emulates the processor, all takes twenty to thirty times as long as on it: on two cores shared with other work 40 s until
# guest.sh begins, the part cluster 7 minutes (the first `up` 115 s, of them 84 s for the images; a change of mode 12 to 26 s), the kernel
# tests of mode ipvs a quarter of an hour, the exercises 2 minutes a mode.
#
# In the environment; what is empty has its default:
#   KUBELITE_VM_ACCELERATOR  of QEMU: tcg, which is none, or kvm where it works
#   KUBELITE_VM_PARTS        of guest.sh: "cluster kernel lessons"
#   KUBELITE_VM_PACKAGES     whose kernel tests run; all that have some, but with tcg those that need a kernel with IPVS
#   KUBELITE_VM_TESTS        which of these tests, as a pattern of -test.run; those that guest.sh names
#   KUBELITE_VM_MODES        that the exercises run in: "iptables nftables ipvs userspace"
#   KUBELITE_VM_LESSONS      which exercises, such as "sleep numbers": those of guest.sh
#   KUBELITE_VM_SERVICES     of the behaviour tests' 456 that are tried in mode ipvs: all, but 16 with tcg
set -euo pipefail
export CGO_ENABLED=0 GOFLAGS=-trimpath
cd "$(dirname "$0")/../.."
vm=bin/vm
share=$vm/kubelite # what the machine has of the repository, as /kubelite
accelerator=${KUBELITE_VM_ACCELERATOR:-tcg} # KVM does not work everywhere where there is a /dev/kvm

packages=systemd-sysv,udev,dbus,libpam-systemd,linux-image-cloud-amd64,kmod,procps,iproute2,iptables,runc,conmon,conntrack,busybox,curl,ca-certificates
packages+=,nftables,ipset,ipvsadm # to look at what the modes write; they need none of them
if [ "$(cat $vm/root/made 2>/dev/null)" != "$packages" ]; then
	rm -rf $vm/root
	mkdir -p $vm
	mmdebstrap --quiet --variant=minbase --include=$packages bookworm $vm/root
	echo kubelite-vm >$vm/root/etc/hostname
	printf '/dev/vda / ext4 defaults 0 1\n/dev/vdb /kubelite ext4 defaults 0 2\n' >$vm/root/etc/fstab
	mkdir $vm/root/kubelite
	cat >$vm/root/etc/systemd/system/guest.service <<-'UNIT'
		[Unit]
		After=multi-user.target
		[Service]
		Type=oneshot
		ExecStart=/bin/bash -c '/kubelite/examples/vm/guest.sh >/dev/ttyS1 2>&1'
		[Install]
		WantedBy=graphical.target
	UNIT
	mkdir -p $vm/root/etc/systemd/system/graphical.target.wants
	ln -s ../guest.service $vm/root/etc/systemd/system/graphical.target.wants/
	echo "$packages" >$vm/root/made
fi

trap 'rm -rf $share $vm/root.img $vm/kubelite.img' EXIT
rm -rf $share
mkdir -p $share/bin
cp go.mod $share
cp bin/kubelite bin/images.tar $share/bin
parts=${KUBELITE_VM_PARTS:-cluster kernel lessons}
modes=${KUBELITE_VM_MODES:-iptables nftables ipvs userspace}
services=${KUBELITE_VM_SERVICES:-} slowness= tested=${KUBELITE_VM_PACKAGES:-}
if [ $accelerator = tcg ]; then
	services=${services:-16} slowness=10 tested=${tested:-proxy/behaviour proxy/ipvs}
fi
cat >$share/settings <<-SETTINGS
	parts="$parts"
	modes="$modes"
	chosen_tests='${KUBELITE_VM_TESTS:-}'
	chosen_lessons="${KUBELITE_VM_LESSONS:-}"
	export KUBELITE_BEHAVIOUR_SERVICES=$services KUBELITE_BEHAVIOUR_SLOWNESS=$slowness
SETTINGS
go build -ldflags '-s -w' -o $share/bin/lesson ./examples/lesson
go build -ldflags '-s -w' -o $share/bin/program ./nodeagent/runtime/testdata/program
find examples -name '*.md' -o -name '*.yaml' -o -name '*.sh' | xargs cp --parents -t $share
if [[ $parts == *kernel* ]]; then
	packages=$(find . -path ./bin -prune -o -name '*_netns_test.go' -printf '%P\n' | xargs -n1 dirname | sort -u)
	for package in ${tested:-$packages examples/faults}; do
		mkdir -p $share/$package
		[ ! -d $package/testdata ] || cp -r $package/testdata $share/$package
		go test -c -ldflags '-s -w' -o $share/$package/kernel.test ./$package
	done
fi

mkfs.ext4 -q -F -d $vm/root $vm/root.img 4G
mkfs.ext4 -q -F -d $share $vm/kubelite.img 3G
timeout 90m qemu-system-x86_64 -accel $accelerator -cpu max -smp 2 -m 3072 -nic none -display none -monitor none \
	-kernel $vm/root/boot/vmlinuz-* -initrd $vm/root/boot/initrd.img-* -append 'root=/dev/vda rw console=ttyS0' \
	-drive file=$vm/root.img,if=virtio,format=raw,cache=unsafe -drive file=$vm/kubelite.img,if=virtio,format=raw,cache=unsafe \
	-serial file:$vm/console.log -serial stdio </dev/null | tee $vm/guest.log
grep -q '^everything passed' $vm/guest.log
