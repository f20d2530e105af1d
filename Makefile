# `make demo` shows it at work, `make test` checks everything; both get what they need. `make check` is the part of it that
# takes minutes, for each change. `make bench` measures.
# The steps can be called one by one; they run one after the other.
.PHONY: bench campaign check demo test set-up check-format check-scripts check-dependencies check-lints build-tests run-tests \
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

# Apart from running them, so that what is left over afterwards can only come from the tests.
build-tests:
	@cargo test --locked --no-run

# TEST_ARGS=--shuffle runs them in another order.
run-tests:
	@scripts/run-tests $(TEST_ARGS)

# Unit tests, and of the others those that start nothing but this program.
run-quick-tests:
	@cargo test --locked --lib --bins
	@cargo test --locked --test it -- docs:: golden::

check-docs:
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

check-metrics:
	@scripts/check-metrics

# Random histories, with real restores as the judge of what is claimed: SEEDS=200 FIRST=1000, or as scripts/campaign says.
campaign:
	@scripts/setup-debian
	@scripts/fetch-pgbackrest
	@SEEDS=$(SEEDS) FIRST=$(FIRST) scripts/campaign

# Ratios against the Go exporter, both fed by the same fake pgbackrest in one run; then the operator with a fleet.
bench:
	scripts/setup-debian
	scripts/fetch-pgbackrest
	scripts/bench
