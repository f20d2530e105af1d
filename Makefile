# `make demo` shows how it works, `make test` checks everything; both install what they need. `make check` runs the checks that
# take only minutes, for each change. `make bench` runs the benchmarks.
# You can also run single steps. Steps run one after the other.
.PHONY: bench campaign check demo soak test set-up check-format check-scripts check-dependencies check-lints build-tests run-tests \
	run-quick-tests check-docs check-metrics
.NOTPARALLEL:

demo:
	scripts/setup-debian demo
	scripts/demo

test:
	@scripts/run-steps set-up check-format check-scripts check-dependencies build-tests check-lints check-docs check-metrics run-tests

check:
	@scripts/run-steps check-format check-scripts check-dependencies check-lints check-docs build-tests run-quick-tests

set-up:
	@scripts/setup-tests

check-format:
	@cargo fmt --check

check-scripts:
	@scripts/check-scripts

check-dependencies:
	@scripts/check-dependencies

check-lints:
	@cargo clippy --locked --all-targets -- -D warnings

# Separate from running the tests, so that leftover processes and files can only come from the tests.
build-tests:
	@cargo test --locked --no-run

# TEST_ARGS=--shuffle runs them in another order.
run-tests:
	@scripts/run-tests $(TEST_ARGS)

# Unit tests, and those integration tests that start no other programs.
run-quick-tests:
	@cargo test --locked --lib --bins
	@cargo test --locked --test it -- docs:: fuzz:: golden::

check-docs:
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

check-metrics:
	@scripts/check-metrics

# Random histories, checked with real restores: SEEDS=200 FIRST=1000; see scripts/campaign.
campaign:
	@scripts/setup-debian
	@scripts/fetch-pgbackrest
	@SEEDS=$(SEEDS) FIRST=$(FIRST) scripts/campaign

# Two hours of random faults, after which nothing may be left over: SOAK_MINUTES=10 for less.
soak:
	@scripts/setup-debian
	@scripts/soak

# Ratios to the Go exporter and to check_pgbackrest, each in the same run; the operator with a fleet.
bench:
	scripts/setup-debian
	scripts/fetch-pgbackrest
	scripts/fetch-monitoring
	scripts/bench
