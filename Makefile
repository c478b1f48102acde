# Entry points: make run, make test, make build, make dev, make soak, make bench.
# Every set-up step is skipped if its result exists.

SHELL := /bin/bash
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/belvedere
TOOLS := $(CACHE)/tools
export TOOLS
export PATH := $(CURDIR)/scripts/path:$(CURDIR)/end2end/node_modules/.bin:$(TOOLS)/bin:$(HOME)/.cargo/bin:$(PATH)
SETUP := CACHE="$(CACHE)" TOOLS="$(TOOLS)" scripts/setup.sh

# Features and sources of the last build; directories as well, so that a deleted file triggers a build.
BUILT := target/release/.built
SOURCES := $(shell find .cargo app frontend public scripts style server -not -path '*/tests*') \
	Cargo.toml Cargo.lock rust-toolchain.toml end2end/package-lock.json
ifneq ($(FEATURES),$(shell cat $(BUILT) 2>/dev/null))
.PHONY: $(BUILT)
endif
ifeq ($(and $(wildcard target/release/belvedere),$(wildcard target/site/pkg/*.wasm)),)
.PHONY: $(BUILT)
endif

.PHONY: run build dev test soak bench openapi setup

run: build
	exec target/release/belvedere serve $(ARGS)

build:
	@$(SETUP) libvirt rust npm consoles cargo-leptos
	@$(MAKE) --no-print-directory $(BUILT)

# Its timestamp is the start of the build, so that files changed during the build are built next time.
$(BUILT): $(SOURCES)
	@mkdir -p $(@D) && echo "$(FEATURES)" > $@.new
	cargo leptos build --release --precompress --split $(if $(FEATURES),--bin-features $(FEATURES))
	@mv $@.new $@

dev:
	@$(SETUP) libvirt rust npm consoles cargo-leptos
	cargo leptos watch --split

test:
	@$(SETUP) libvirt rust npm consoles cargo-leptos browser daemon pam contract
	@scripts/test.sh

# Writes the document of the API, which is part of the repository, after a change of it.
openapi:
	@$(SETUP) libvirt rust
	WRITE_OPENAPI=1 cargo test --quiet -p server --lib openapi

# Overnight run: make soak SEEDS=10000 KILLS=500
soak:
	@$(SETUP) libvirt rust npm consoles cargo-leptos browser daemon
	@scripts/soak.sh $(or $(SEEDS),10000) $(or $(KILLS),500)

bench: build
	@$(SETUP) browser daemon bench
	@scripts/bench.sh $(ONLY)
