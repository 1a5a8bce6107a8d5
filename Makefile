# `make run` shows it working, `make test` proves it. `make help` lists the rest.

VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
ARTIFACTS ?= $(CURDIR)/artifacts
TOOL      := go tool -modfile=.ci/tools.mod
export ARTIFACTS

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build run install lint unit race fuzz integration soak test bench fmt

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./webrtc2sip; needs Go alone
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o webrtc2sip ./cmd/webrtc2sip

run: build ## build and run the demo of config.xml: gateway, PBX and phone page
	./webrtc2sip --config config.xml

install: ## install the Debian packages and npm modules that the tests need, if any is missing
	.ci/install

lint: ## vet, format, tidiness and staticcheck
	.ci/lint

unit: ## unit tests without the race detector; needs Go alone, ends in a minute
	go test ./...

race: ## unit tests with the race detector
	go test -race ./...

fuzz: ## every fuzz target for FUZZTIME (20s), one on each processor
	.ci/fuzz

integration: ## tests against sipp, baresip, Kamailio and browsers; screenshots in artifacts/
	go test -tags integration -count 1 -timeout 30m -run TestIntegration ./internal/testpeer/...

soak: ## the floods of docs/security-tests.md with their full numbers; an hour
	SOAK=1 go test -tags integration -count 1 -timeout 2h -v -run TestIntegrationFlood ./internal/testpeer/...

test: install lint race fuzz integration ## install what is missing, then everything above

bench: ## benchmarks, with allocations
	go test -run '^$$' -bench . -benchmem ./...

fmt: ## format all sources
	.ci/sources | xargs $(TOOL) gofumpt -w
