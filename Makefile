# What each target does is said in CONTRIBUTING.md. Everything needs only Go, git and make.
export CGO_ENABLED = 0
GO ?= go
FUZZTIME ?= 60s
# Each fuzz target's share of `make test`: enough to notice a parser that broke, not to look for news.
FUZZ_BRIEF ?= 3s
SYSTEMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: build demo test test-clients test-batch test-arm64 unit e2e lint vet cross workflows snapshot release-tools clients bench fuzz mutate fuzz-brief faults load reproducible vulncheck generate man docs clean

build:
	$(GO) build -trimpath -o bin/ $(dir $(wildcard ./cmd/*/main.go))

demo:
	@echo "compiling the demo's launcher (the first time about ten seconds) …"
	@cd e2e && $(GO) run -trimpath ./demo

test: vet unit cross workflows e2e snapshot fuzz-brief

# Go's own limit is ten minutes a package, which a busy machine needs.
unit:
	$(GO) test -timeout 30m ./...
	cd sigstoreverifier/example && $(GO) test ./...

# -count=1: the test cache does not see changes in the binaries that the tests build.
e2e:
	cd e2e && $(GO) test -count=1 -timeout 60m ./...

# The whole matrix with every client, cosign 2 and Ratify among them.
test-clients:
	cd e2e && $(GO) test -count=1 -timeout 60m . -args -cosign2 -ratify

vet:
	@unformatted="$$(gofmt -l cmd internal plugin verifier sigstoreverifier e2e)" || exit 1; test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	cd e2e && $(GO) vet ./...
	cd sigstoreverifier/example && $(GO) vet ./...

lint:
	$(GO) mod tidy -diff
	cd e2e && $(GO) mod tidy -diff
	cd sigstoreverifier/example && $(GO) mod tidy -diff
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...

workflows:
	$(GO) tool -modfile=tools/actionlint/go.mod actionlint -shellcheck= -pyflakes= .github/workflows/*.yml examples/github-actions.yml

# Goreleaser wants to know the repository; a clone of nowhere tells it this.
snapshot: export GIT_CONFIG_COUNT = 1
snapshot: export GIT_CONFIG_KEY_0 = remote.origin.url
snapshot: export GIT_CONFIG_VALUE_0 = https://github.com/awskms-offline/awskms-offline
# The release as it would be, but for signatures; then the tests install from it.
snapshot: release-tools
	PATH="$(CURDIR)/.cache/tools:$$PATH" goreleaser check
	PATH="$(CURDIR)/.cache/tools:$$PATH" goreleaser release --snapshot --clean --skip=sign
	cd e2e && $(GO) test -count=1 -timeout 30m -run 'Release|Example|ActionRefuses' . -args -dist ../dist

release-tools:
	$(GO) build -modfile=tools/goreleaser/go.mod -o .cache/tools/ github.com/goreleaser/goreleaser/v2
	$(GO) build -modfile=tools/syft/go.mod -o .cache/tools/ github.com/anchore/syft/cmd/syft

cross:
	@for system in $(SYSTEMS); do \
	  echo "cross-compile $$system"; \
	  GOOS=$${system%/*} GOARCH=$${system#*/} $(GO) build -trimpath -o /dev/null ./cmd/... || exit 1; \
	done
	GOOS=windows $(GO) vet ./...
	GOARCH=386 $(GO) vet ./... # an int of 32 bits: nothing is released for one, but whoever embeds the verifier may be on one
	GOARCH=arm $(GO) vet ./...

clients:
	cd e2e && $(GO) run -trimpath ./clients $(CLIENTS)

# A batch of a million lines, in place of the few thousand of `make test`.
test-batch:
	AWSKMS_OFFLINE_TEST_LINES=1000000 $(GO) test -count=1 -v -timeout 60m -run TestBatchLoad ./cmd/internal/cli

# The ratios are pairs in one run; OpenSSL's figures stand beside them where the machine has it.
bench:
	$(GO) test -run '^$$' -bench 'Verify/.*/.*/paired|Stream' -benchtime 1s ./verifier/internal/rawverify
	$(GO) test -run '^$$' -bench 'Resolve|Open' ./verifier/keystore
	$(GO) test -run '^$$' -bench . ./verifier/audit
	$(GO) test -run '^$$' -bench 'Transport|Pull' -benchtime 1x ./cmd/internal/cli
	$(GO) test -run '^$$' -bench 'Batch|LongFile' -benchtime 5x -timeout 30m ./cmd/internal/cli
	$(GO) test -run '^$$' -bench 'Start|Policy' -benchtime 200x ./cmd/notation-awskms-offline ./cmd/sigstore-kms-awskms-offline
	cd e2e && $(GO) test -run '^$$' -bench Cosign -benchtime 50x .
	@if command -v openssl >/dev/null; then \
	  openssl speed -seconds 1 rsa2048 rsa3072 rsa4096 ecdsap256 ecdsap384 ecdsap521 ed25519 sm2 2>/dev/null | grep -E '^ *(rsa|sign|[0-9]+ bits|version)'; \
	else echo "openssl is missing: its figures are left out"; fi

fuzz:
	$(GO) run ./internal/fuzzall -time $(FUZZTIME)

# What the tests notice of thousands of breaks on the way to a decision: an hour of two processors.
mutate:
	$(GO) run ./internal/mutate -page docs/mutation.md

fuzz-brief:
	$(GO) run ./internal/fuzzall -time $(FUZZ_BRIEF)

# Every fault, one after the other: docs/reliability.md. strace and root make more of it.
faults:
	$(GO) test -count=1 -timeout 3h -v -run 'Fault|Fail|Memory|Descriptors|Killed|Disk|Links|Owner|Swapped|Clock' ./internal/faults -args -full
	AWSKMS_OFFLINE_TEST_EVERY_FAULT=1 $(GO) test -count=1 -timeout 1h -v -run SystemCallsFail ./verifier/audit

# 200 processes for five minutes, then ten million verifications in one process.
load:
	$(GO) test -count=1 -timeout 6h -v -run 'Load|Growth' ./internal/faults -args -full

# What stands on cryptography and on the processor, on arm64 by the emulator of Debian's package qemu-user.
test-arm64:
	@command -v qemu-aarch64 >/dev/null || { echo "test-arm64: qemu-aarch64 is missing: install the package qemu-user"; exit 1; }
	GOARCH=arm64 $(GO) test -exec qemu-aarch64 -timeout 1h ./verifier/internal/rawverify/... ./verifier/internal/rawagree/... \
	  ./verifier/internal/rawencrypt/... ./verifier/internal/spki ./verifier/kmskey

# Every program twice, from nothing, in two folders.
reproducible:
	$(GO) test -count=1 -timeout 1h -v -run Reproducible ./internal/dependencies -args -full

# Asks vuln.go.dev; govulncheck exits with 3 for what it found and with 1 where it could not look.
vulncheck:
	@$(GO) tool -modfile=tools/govulncheck/go.mod govulncheck ./... || \
	{ code=$$?; test $$code = 3 || echo "vulncheck: NOTHING was checked: the database at vuln.go.dev is needed, and cannot be reached or read"; exit $$code; }

generate:
	cd e2e && $(GO) generate ./...

# Man pages and shell completions, as packages install them.
man:
	$(GO) run ./cmd/internal/manpages bin/share

docs:
	$(GO) run ./internal/errordocs > docs/errors.md.new && mv docs/errors.md.new docs/errors.md
	$(GO) run ./internal/dependencies . > docs/dependencies.md.new && mv docs/dependencies.md.new docs/dependencies.md

clean:
	rm -rf bin dist .cache
