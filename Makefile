# ocidistfs: make help lists the targets.

GO       ?= go
FUZZTIME ?= 60s
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X main.version=$(VERSION)
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

.DEFAULT_GOAL := build
.PHONY: build test race single user docs filesystems rootfs rootfs-smoke interop manners chaos chaos-smoke bench bench-smoke benchstat demo lint fuzz cross help clean

build: ## build dist/ocidistfs
	$(BUILD) -o dist/ocidistfs ./cmd/ocidistfs

test: ## run the tests (Go, root and /dev/fuse are all they need)
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) test -timeout 10m ./...

race: ## run the tests with the race detector, but for what is large and has one goroutine (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -timeout 15m ./...

single: ## run the tests on one processor
	CGO_ENABLED=0 GOMAXPROCS=1 $(GO) test -count=1 -timeout 15m ./...

user: ## run the tests of mounts by others than root (needs fuse3)
	CGO_ENABLED=0 OCIDISTFS_TEST_USER=1 $(GO) test -count=1 -timeout 5m -run TestOrdinaryUser ./cmd/ocidistfs

# What the documentation's commands need of Debian, besides what is always there.
READER := jq podman skopeo attr bubblewrap busybox-static runc

docs: ## run the commands of the documentation (installs jq, podman, bubblewrap and the like, on Debian)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(READER) >/dev/null 2>&1; then \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(READER) >/dev/null || echo "not all is installed"; \
	fi
	OCIDISTFS_DOCS=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 5m -run TestDocs ./cmd/ocidistfs

filesystems: ## run the tests of the cache on XFS, btrfs and ext4 (root; xfsprogs and btrfs-progs are installed on Debian)
	@command -v mkfs.xfs >/dev/null && command -v mkfs.btrfs >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends xfsprogs btrfs-progs >/dev/null; }
	CGO_ENABLED=0 OCIDISTFS_TEST_FILESYSTEMS=1 $(GO) test -count=1 -timeout 5m -run TestFilesystems ./cmd/ocidistfs

# What internal/mounted shows on a mount; containerd and its suite are pinned in
# internal/unpack.
SYSTEMS := debootstrap busybox-static

rootfs: ## compare what is in images, stored in five ways, with containerd on overlayfs, and run its suite, diff and find on a mount (root, /dev/fuse)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(SYSTEMS) >/dev/null 2>&1; then \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SYSTEMS) >/dev/null || echo "not all is installed"; \
	fi
	OCIDISTFS_ROOTFS=1 OCIDISTFS_ROOTFS_SEEDS=500 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 60m -run 'TestRandomStacks|OnMount' ./fs/rootfs
	OCIDISTFS_ROOTFS=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 60m ./internal/mounted

rootfs-smoke: ## the same with fewer images, of what is on this machine
	OCIDISTFS_ROOTFS=smoke CGO_ENABLED=0 $(GO) test -count=1 -timeout 8m -run OnMount ./fs/rootfs
	OCIDISTFS_ROOTFS=smoke CGO_ENABLED=0 $(GO) test -count=1 -timeout 8m ./internal/mounted

# What internal/interop needs of Debian; Go programs are pinned in internal/loaders,
# docker's engine and BuildKit in internal/engine.
LOADERS := docker.io podman containerd runc skopeo umoci busybox-static libarchive-tools python3 attr e2fsprogs

interop: ## give image.tar to all that load images (installed, on Debian), print what they keep
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(LOADERS) >/dev/null 2>&1; then \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(LOADERS) >/dev/null || echo "not all is installed"; \
	fi
	OCIDISTFS_INTEROP=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 20m ./internal/interop

# What internal/manners needs of Debian, which may start both as services: the
# suite has processes of its own.
SERVERS := docker-registry nginx-light

manners: ## mount real registries, behind proxies, with each way to log in (installed, on Debian)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(SERVERS) >/dev/null 2>&1; then \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SERVERS) >/dev/null || echo "not all is installed"; \
	fi
	OCIDISTFS_MANNERS=1 CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m ./internal/manners

chaos: ## mount registries that fail while programs, processes and cache files are killed and damaged; print the counts (root, /dev/fuse)
	OCIDISTFS_CHAOS=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 90m ./internal/chaos

chaos-smoke: ## the same, each a few times
	OCIDISTFS_CHAOS=smoke CGO_ENABLED=0 $(GO) test -count=1 -timeout 8m ./internal/chaos

# What internal/bench needs of Debian, besides dockerd: see internal/loaders and
# internal/benchtools for what is Go.
RIVALS := docker.io containerd runc skopeo umoci fuse3 xfsprogs btrfs-progs e2fsprogs

bench: ## run it in turn with crane, regctl, skopeo, docker and plain files, print what each takes (OCIDISTFS_BENCH_UPDATE=1: into docs/benchmarks.md)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(RIVALS) >/dev/null 2>&1; then \
		apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(RIVALS) >/dev/null || echo "not all is installed"; \
	fi
	OCIDISTFS_BENCH=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 120m -run 'TestBench|TestShaper' ./internal/bench

bench-smoke: ## the same once, small, of what needs Go and FUSE alone: does it run, is what comes out right
	OCIDISTFS_BENCH=smoke CGO_ENABLED=0 $(GO) test -count=1 -timeout 5m -run TestBench ./internal/bench

# The hot paths, by the packages that have them.
HOT   := ./cache ./fs/readat ./fs/imagetar ./fs/tree ./registry
BASE  ?= HEAD
COUNT ?= 6

benchstat: ## compare Go benchmarks of the working tree with those of BASE (a commit)
	@mkdir -p dist; base=$$(mktemp -d); \
	trap 'git worktree remove --force "$$base/tree"; rm -rf "$$base"' EXIT; trap 'exit 130' INT TERM; \
	git worktree add --quiet --detach "$$base/tree" $(BASE) && rm -f dist/base.txt dist/new.txt && \
	for i in $$(seq $(COUNT)); do \
		$(GO) test -C "$$base/tree" -p 1 -timeout 10m -run '^$$' -bench . -benchtime 0.3s $(HOT) >>dist/base.txt && \
		$(GO) test -p 1 -timeout 10m -run '^$$' -bench . -benchtime 0.3s $(HOT) >>dist/new.txt || exit 1; \
	done; \
	$(GO) tool -modfile internal/benchtools/go.mod benchstat dist/base.txt dist/new.txt

demo: build ## mount a small registry of its own and walk through it
	./dist/ocidistfs demo

lint: ## run the linter, which is pinned in internal/lint
	$(GO) build -C internal/lint -o $(CURDIR)/dist/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	./dist/golangci-lint run --concurrency 2 ./...

# The packages with targets that are fuzzed.
FUZZ ?= ./...

# Until Go 1.27 a run can fail with nothing but a deadline when its time is up
# (golang/go#75804): that is no finding.
fuzz: ## fuzz each target of the packages FUZZ for FUZZTIME
	@for package in $$($(GO) list $(FUZZ)); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "== $$package $$target"; \
			said=$$($(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzzminimizetime 1x -fuzztime $(FUZZTIME) $$package 2>&1); \
			code=$$?; \
			case "$$code $$said" in \
			"0 "*) echo "$$said" | tail -n 3 ;; \
			*"Failing input"*) echo "$$said"; exit 1 ;; \
			*"context deadline exceeded"*) echo "nothing found when its time was up" ;; \
			*) echo "$$said"; exit 1 ;; \
			esac; \
		done; \
	done

cross: ## build for linux on amd64 and arm64, compile for darwin
	GOOS=linux GOARCH=amd64 $(BUILD) -o dist/ocidistfs-linux-amd64 ./cmd/ocidistfs
	GOOS=linux GOARCH=arm64 $(BUILD) -o dist/ocidistfs-linux-arm64 ./cmd/ocidistfs
	GOOS=darwin GOARCH=arm64 $(BUILD) -o /dev/null ./cmd/ocidistfs

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

clean: ## remove what was built
	rm -rf dist
