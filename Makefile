# hubtail: `make demo` shows it, `make test` proves it. Needs git, make and Go;
# NATS is embedded, PostgreSQL is found or fetched (see internal/localpg).

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.buildVersion=$(VERSION)
# git, and so go build, refuses to read a clone that belongs to somebody else.
BUILDVCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)

# What `make test PKG=./sink TESTFLAGS="-v -run Replay"` narrows down to.
PKG        ?= ./...
TESTFLAGS  ?=
DEMO_FLAGS ?=
FUZZTIME   ?= 10s

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
WITHPG      := bin/withpg

.DEFAULT_GOAL := help
.PHONY: help build demo test race browser-test lint vulncheck fuzz bench chaos soak compose-check image clean FORCE

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

build: bin/hubtail ## build bin/hubtail, one static binary

demo: bin/hubtail ## a whole portal flows from a simulated HubSpot into Postgres, then a proof
	@./bin/hubtail demo $(DEMO_FLAGS)

test: $(WITHPG) ## all tests, on PostgreSQL 17 and 15
	@$(WITHPG) -- $(GO) test $(TESTFLAGS) $(PKG)

race: $(WITHPG) ## all tests under the race detector (needs a C compiler; minutes when cold)
	@$(WITHPG) -- $(GO) test -race $(TESTFLAGS) $(PKG)

browser-test: bin/hubtail $(WITHPG) ## the status page in a real browser (needs chromium)
	@HUBTAIL_TEST_BINARY=$(CURDIR)/bin/hubtail $(WITHPG) -- $(GO) test -C internal/browser $(TESTFLAGS) ./...

lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt -w needed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

vulncheck: ## known vulnerabilities of what is in use; says so where the database cannot be reached
	@out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1) && echo "govulncheck: none known" || { \
	  case "$$out" in *"fetching vulnerabilities"*) echo "govulncheck: NOT CHECKED, its database cannot be reached";; *) echo "$$out"; exit 1;; esac; }

fuzz: ## every fuzz target for FUZZTIME (10s)
	@set -e; for pkg in $$($(GO) list $(PKG)); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

bench: $(WITHPG) ## benchmarks; each figure beside its limit
	@$(WITHPG) -- $(GO) test -run '^$$' -bench . -benchmem $(TESTFLAGS) $(PKG)

chaos: ## change a portal in every way, under storms and crashes; what gets lost here and elsewhere
	@$(GO) test -run '^$$' -bench '^BenchmarkChaos$$' -benchtime 1x -timeout 3h $(TESTFLAGS) ./connector

soak: ## 500 random faults in one run, HUBTAIL_SOAK_FAULTS and HUBTAIL_SOAK_SEED choose others; nothing may be lost, wrong or stuck
	@HUBTAIL_SOAK_FAULTS=$${HUBTAIL_SOAK_FAULTS:-500} $(GO) test -run '^TestRandomFaultsLoseNothing$$' -v -count 1 -timeout 3h $(TESTFLAGS) ./cmd/hubtail

compose-check: ## validate docker-compose.yml, without an engine
	@internal/cmd/compose-check

image: ## build the container image hubtail:latest
	docker build --build-arg VERSION=$(VERSION) -t hubtail:latest .

clean: ## remove what was built
	rm -rf bin

# Go knows better than make what is out of date.
bin/hubtail bin/withpg: FORCE | cold
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(BUILDVCS) -ldflags '$(LDFLAGS)' -o $@ ./$(if $(findstring withpg,$@),internal/cmd/withpg,cmd/hubtail)

.PHONY: cold
cold:
	@test -d bin || echo "first run: downloading modules and compiling, a minute or two"
