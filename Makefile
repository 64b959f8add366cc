# Two commands do everything on a fresh Debian machine with Go: `make demo` and `make test`. `make help` lists the rest.

SHELL := /bin/bash
# sudo's own PATH may not have Go, which kernel tests build their containers' program with.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=KUBELITE_REQUIRE_ROOT,KUBELITE_BEHAVIOUR_SERVICES env PATH=$(PATH))
GO_SOURCES := $(shell find . -name '*.go' -not -name '*_test.go' -not -path './bin/*') go.mod go.sum
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# What a cluster needs of the machine, and what its tests, its images and its race detector need beside that.
RUNTIME_PACKAGES := iptables runc conmon
BUILD_PACKAGES := ca-certificates curl gcc libc6-dev iproute2 iputils-ping busybox conntrack nftables dpkg-dev

# One build cache for everything but the race detector, which needs cgo.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath
KUBERNETES_VERSION := $(shell sed -n 's/^const Kubernetes = "\(.*\)"/\1/p' internal/version/version.go)
LDFLAGS := -s -w -X k8s.io/component-base/version.gitVersion=$(KUBERNETES_VERSION)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: demo
demo: deps build images ## install what is needed, boot a cluster, run the textbooks' exercises on it, show the transcript
	go build -o bin/lesson ./examples/lesson
	$(SUDO) bin/lesson sleep numbers numbers-outside

.PHONY: test
test: deps lint build images unit e2e ## install what is needed and run all tests

.PHONY: deps
deps: ## install the Debian packages that are missing
	@missing=$$(for p in $(RUNTIME_PACKAGES) $(BUILD_PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi

.PHONY: build
build: bin/kubelite ## build bin/kubelite
bin/kubelite: $(GO_SOURCES)
	go build -ldflags '$(LDFLAGS)' -o $@ .

.PHONY: images
images: bin/images.tar ## build the offline bundle of the textbooks' images, bin/images.tar
bin/images.tar: $(shell find examples/images -type f)
	go run ./examples/images/bundle -o $@

PREFIX ?= /usr/local
.PHONY: install
install: deps build images ## install kubelite and its images bundle below /usr/local (PREFIX)
	$(SUDO) install -D bin/kubelite $(PREFIX)/bin/kubelite
	$(SUDO) install -D -m 644 bin/images.tar $(PREFIX)/share/kubelite/images.tar

# With the race detector, but for the commands and the examples, for which all of kubectl would be compiled a second time.
.PHONY: unit
unit: ## unit and kernel tests, and what clients see of Services in every proxy mode
	CGO_ENABLED=1 KUBELITE_REQUIRE_ROOT=1 go test -race $(if $(SUDO),-exec '$(SUDO)') $$(go list ./... | grep -v -e 'kubelite$$' -e /cli -e /docs -e /examples -e /proxy/behaviour)
	KUBELITE_REQUIRE_ROOT=1 KUBELITE_BEHAVIOUR_SERVICES=32 go test -timeout 30m $(if $(SUDO),-exec '$(SUDO)') . ./cli/... ./docs/... ./examples/bench... ./examples/classroom ./examples/images/... ./proxy/behaviour

.PHONY: behaviour
behaviour: deps ## what clients see of all Services of the table of cases in every proxy mode; `make test` plays a sample of them
	KUBELITE_REQUIRE_ROOT=1 go test -count=1 -timeout 30m -v $(if $(SUDO),-exec '$(SUDO)') ./proxy/behaviour

.PHONY: e2e
e2e: deps build images ## the exercises and the faults, on real clusters
	KUBELITE_REQUIRE_ROOT=1 go test -count=1 -v $(if $(SUDO),-exec '$(SUDO)') ./examples/lesson ./examples/faults

.PHONY: test-vm
test-vm: BUILD_PACKAGES += qemu-system-x86 mmdebstrap e2fsprogs
test-vm: deps build images ## the kernel tests, the faults and the exercises on Debian with its own kernel, in a virtual machine
	$(SUDO) env $(foreach v,ACCELERATOR PARTS PACKAGES TESTS MODES LESSONS SERVICES,KUBELITE_VM_$v='$(KUBELITE_VM_$v)') examples/vm/run.sh

.PHONY: bench
bench: build images ## measure what the documentation claims
	go build -o bin/bench ./examples/bench
	$(SUDO) bin/bench

.PHONY: bench-proxy
bench-proxy: deps build ## measure the Service proxy in every mode; BENCH_PROXY='-modes nftables -services 100,1000' for a part of it
	go build -o bin/bench-proxy ./examples/bench-proxy
	$(SUDO) bin/bench-proxy $(BENCH_PROXY)

.PHONY: lint
lint: ## formatting, vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted by gofmt: $$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: clean
clean: ## remove what was built
	$(SUDO) rm -rf bin
