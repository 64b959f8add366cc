#!/bin/bash
# Boots Debian 12 with its own kernel, systemd and the unified control group hierarchy in a virtual machine without any network, and
# runs guest.sh there: a quarter of an hour without KVM. As root; everything is kept in bin/vm. `make test-vm` has built bin/kubelite
# and bin/images.tar.
set -euo pipefail
export CGO_ENABLED=0 GOFLAGS=-trimpath
cd "$(dirname "$0")/../.."
vm=bin/vm
share=$vm/kubelite # what the machine has of the repository, as /kubelite
accelerator=${KUBELITE_VM_ACCELERATOR:-} # of QEMU, such as tcg; empty: KVM where there is one
[ -n "$accelerator" ] || if [ -w /dev/kvm ]; then accelerator=kvm; else accelerator=tcg; fi

if [ ! -e $vm/root/made ]; then
	rm -rf $vm/root
	mkdir -p $vm
	mmdebstrap --quiet --variant=minbase --include=systemd-sysv,udev,dbus,libpam-systemd,linux-image-cloud-amd64,kmod,procps,iproute2 \
		--include=iptables,runc,conmon,conntrack,busybox,curl,ca-certificates bookworm $vm/root
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
	touch $vm/root/made
fi

trap 'rm -rf $share $vm/root.img $vm/kubelite.img' EXIT
rm -rf $share
mkdir -p $share/bin
cp go.mod $share
cp bin/kubelite bin/images.tar $share/bin
go build -ldflags '-s -w' -o $share/bin/lesson ./examples/lesson
go build -ldflags '-s -w' -o $share/bin/program ./nodeagent/runtime/testdata/program
find examples -name '*.md' -o -name '*.yaml' -o -name '*.sh' | xargs cp --parents -t $share
for package in nodeagent/runtime nodeagent/network nodeagent/announce nodeagent/volumes proxy proxy/iptables cli/lab examples/faults; do
	mkdir -p $share/$package
	[ ! -d $package/testdata ] || cp -r $package/testdata $share/$package
	go test -c -ldflags '-s -w' -o $share/$package/kernel.test ./$package
done

mkfs.ext4 -q -F -d $vm/root $vm/root.img 4G
mkfs.ext4 -q -F -d $share $vm/kubelite.img 2G
timeout 1h qemu-system-x86_64 -accel $accelerator -cpu max -smp 2 -m 3072 -nic none -display none -monitor none \
	-kernel $vm/root/boot/vmlinuz-* -initrd $vm/root/boot/initrd.img-* -append 'root=/dev/vda rw console=ttyS0' \
	-drive file=$vm/root.img,if=virtio,format=raw,cache=unsafe -drive file=$vm/kubelite.img,if=virtio,format=raw,cache=unsafe \
	-serial file:$vm/console.log -serial stdio </dev/null | tee $vm/guest.log
grep -q '^everything passed' $vm/guest.log
