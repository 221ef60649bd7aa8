# What people do with this repository. `make` alone lists it.

CARGO ?= cargo
# Long crash test: how many times the process is killed.
N ?= 200
# How long full load lasts.
MINUTES ?= 10
# How long each fuzz target runs, and where what it finds interesting is kept between runs.
FUZZ_SECONDS ?= 120
FUZZ_FOUND ?= $(abspath $(or $(CARGO_TARGET_DIR),target))/fuzz-found
# Property tests choose the same cases every time, so that a red run says something about the change; `make quick` chooses anew.
SEED ?= 20261124

.DEFAULT_GOAL := help
.PHONY: help demo build test quick check-style packages screenshots crash soak fuzz fuzz-smoke bench bench-accept bench-journeys bench-stages image image-test sbom clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## Build, then show the main job on this machine: push in, deploy out, reply on the commit
	@$(CARGO) run --quiet --bin declic -- demo $(DEMO)

build: ## Build the command for development
	$(CARGO) build --bin declic

test: packages check-style ## Do all the set-up, then run every test (what CI runs)
	PROPTEST_RNG_SEED=$(SEED) $(CARGO) test --workspace --no-fail-fast

quick: ## Run the tests, without set-up and style
	$(CARGO) test --workspace --no-fail-fast

check-style: ## Formatting, lints and documentation, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

packages: ## Install the pinned npm and PyPI packages that tests check against
	./scripts/test-packages
	./scripts/test-emulators

screenshots: build packages ## Pictures of every page of the console, light and dark, wide and narrow, of a running demo
	./scripts/screenshots $(SHOTS)

crash: ## Kill the real process N times and count effects (make crash N=1000)
	DECLIC_CRASH_RUNS=$(N) $(CARGO) test --test it crash -- --nocapture

soak: ## Full load and a slow disk for MINUTES (10): memory stays flat
	DECLIC_SOAK_SECONDS=$$(( $(MINUTES) * 60 )) $(CARGO) test --test it memory_stays_flat -- --nocapture

.PHONY: sim
sim: ## Simulate engine and journal over N schedules of accidents (make sim N=100000), or play one of them again (make sim SEED=7)
	DECLIC_SIM_SCHEDULES=$(if $(filter file,$(origin N)),20000,$(N)) $(if $(filter file,$(origin SEED)),,DECLIC_SIM_SEED=$(SEED)) \
	  $(CARGO) test --test it simulation::thousands -- --nocapture

fuzz: ## Fuzz the rule language and unproved requests, FUZZ_SECONDS (120) for each of seven targets; needs cargo-fuzz (cargo install cargo-fuzz)
	@cd fuzz && for target in yaml expression glob template signature token form; do \
	  mkdir -p "$(FUZZ_FOUND)/$$target" && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$target "$(FUZZ_FOUND)/$$target" corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=5 -rss_limit_mb=1024 || exit 1; done

fuzz-smoke: ## The same over the committed corpus and seconds of mutations, as make test does (DECLIC_FUZZ_SECONDS=60)
	$(CARGO) test --test it fuzz

bench: bench-accept bench-journeys ## Measure matching, memory per rule, what reasons cost, checking, rules of repositories, and accepting beside a peer (docs/benchmarks.md)
	$(CARGO) bench --bench matching
	$(CARGO) bench --bench repositories

bench-accept: ## Accepting durably, beside every peer and the limits in one run (BENCH="--rounds 5 --only declic,webhook")
	benches/accept/run $(BENCH)

bench-journeys: ## First byte out, runs from end to end, restarts, and accepting while something else goes on (JOURNEYS="--only restart")
	benches/accept/run --journeys $(JOURNEYS)

bench-stages: ## Instructions of each stage of a delivery, as valgrind counts them (WRITE=--write keeps them as the known ones)
	$(CARGO) test --bench stages -- $(WRITE)
	$(CARGO) bench --bench stages -- $(WRITE)

image: ## Build the container image (docker or buildah)
	@if command -v docker >/dev/null 2>&1; then docker build -t declic . ; else buildah bud -t declic . ; fi

image-test: ## Build the image by its Dockerfile without a container engine, hold it to its promises, and run it (Debian 12, root; minutes)
	./scripts/test-image

sbom: ## List what the command is made of, as CycloneDX
	@./scripts/sbom

clean: ## Remove what was built
	$(CARGO) clean
