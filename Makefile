# Plain commands. "make test" is everything that CI runs; "make check" is the
# part of it to run while you work.

VERSION  ?= 0.1.0-dev+$(shell git describe --always --dirty --abbrev=12)
FUZZTIME ?= 30s

GOLANGCI_VERSION := v2.15.0

TOOLS    := .cache/tools
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
KUBECTL  := $(TOOLS)/kubectl
CHROMIUM := /usr/bin/chromium

MODULES        := . sandbox sandbox/tools bench/kubectl
LINTED         := . sandbox
SANDBOX_PKGS   := charge durable ledger offer x402
SANDBOX_INPUTS := go.mod go.sum $(shell find sandbox $(addprefix pkg/,$(SANDBOX_PKGS)) -path sandbox/tools -prune -o -path '*/testdata' -prune -o -type f ! -name '*_test.go' -print)
GOLDEN_DIRS     = $(shell grep -rl --include='*_test.go' '"update"' cmd pkg | xargs -rn1 dirname | sort -u)

stage = @printf '\n==> %s\n' '$(1)'

.PHONY: build sandbox test check lint format tidy vet unit race sandbox-test fuzz golden bench demo acceptance rehearse docs docs-check clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/obolctl

sandbox: bin/obol-sandbox

# A real kube-apiserver and etcd: seven minutes from nothing, so only when something changed.
bin/obol-sandbox: $(SANDBOX_INPUTS)
	$(call stage,building the sandbox: the first time this takes some minutes)
	cd sandbox && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../bin/ ./cmd/obol-sandbox

test:
	@$(MAKE) --no-print-directory format tidy vet
	@$(MAKE) --no-print-directory -j2 lint build sandbox
	@$(MAKE) --no-print-directory docs-check race sandbox-test demo rehearse REHEARSE=-if-possible

check: format vet lint unit

format:
	$(call stage,gofmt)
	@! gofmt -l . | grep .

tidy:
	$(call stage,go mod tidy -diff)
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff) || exit 1; done

vet:
	$(call stage,go vet; and obolctl compiles where only the file is kept)
	@for m in $(LINTED); do (cd $$m && go vet -tags cluster,rehearse ./...) || exit 1; done
	GOOS=darwin go build -o /dev/null ./cmd/obolctl

lint: $(GOLANGCI)
	$(call stage,golangci-lint)
	@for m in $(LINTED); do (cd $$m && $(CURDIR)/$(GOLANGCI) run --allow-parallel-runners --config $(CURDIR)/.golangci.yml --build-tags cluster,rehearse ./...) || exit 1; done

$(GOLANGCI):
	$(call stage,building golangci-lint $(GOLANGCI_VERSION): the first time this takes some minutes)
	GOBIN=$(CURDIR)/$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

unit:
	$(call stage,tests without a cluster)
	go test ./...

race: sandbox
	$(call stage,all tests of this module; with the race detector and a real API server)
	OBOL_SANDBOX=$(CURDIR)/bin/obol-sandbox go test -race -shuffle=on -tags cluster -timeout 35m ./...

sandbox-test: sandbox
	$(call stage,tests of the sandbox)
	cd sandbox && OBOL_SANDBOX=$(CURDIR)/bin/obol-sandbox go test -shuffle=on -timeout 20m ./...

fuzz:
	$(call stage,each fuzz test for $(FUZZTIME))
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' cmd pkg | sort | while IFS=: read -r file func; do \
	  echo "$$file $${func#func }"; \
	  go test -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) ./$$(dirname "$$file") || exit 1; done

golden:
	go test $(addprefix ./,$(GOLDEN_DIRS)) -update
	git --no-pager diff --stat -- '*testdata*'

demo: build sandbox
	$(call stage,demo)
	go run ./demo

# As root, on Debian: it says so elsewhere. REHEARSE='-run TestX -count 5' runs a part.
rehearse: build sandbox
	$(call stage,rehearse: a machine that is rebooted and whose power is cut)
	go test -tags rehearse -count=1 -parallel 2 -timeout 60m -v ./rehearse $(REHEARSE)

# The public x402 packages, from npm: they buy from the gateway, judge what it
# says, and fall to the attacks that it repels. A browser looks at the storefront.
acceptance: sandbox $(CHROMIUM)
	$(call stage,acceptance: public clients and attacks; and the storefront in a browser)
	cd acceptance && npm ci --ignore-scripts --no-audit --no-fund
	cd acceptance && OBOL_SANDBOX=$(CURDIR)/bin/obol-sandbox go test -tags cluster -shuffle=on -timeout 15m -public

# As root.
$(CHROMIUM):
	$(call stage,installing chromium)
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends chromium

bench: build sandbox $(KUBECTL)
	$(call stage,bench: some minutes; the figures are worth more on an idle machine)
	cd bench/express && npm ci --ignore-scripts --no-audit --no-fund
	go run ./bench -kubectl $(KUBECTL)

$(KUBECTL): bench/kubectl/go.mod bench/kubectl/go.sum bench/kubectl/main.go
	cd bench/kubectl && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ .

docs: build
	scripts/commands bin/obolctl >docs/commands.md

docs-check: build
	$(call stage,docs/commands.md against the commands)
	@scripts/commands bin/obolctl | diff -u docs/commands.md - || { echo 'run "make docs"' >&2; exit 1; }

clean:
	rm -rf bin .cache acceptance/node_modules bench/express/node_modules
