# `make demo` shows it at work, `make test` checks everything; both get what they need. `make bench` measures.
# The parts of `make test` can be called one by one; they run in this order, one after the other.
.PHONY: bench demo test set-up check-format check-scripts check-lints run-tests check-docs check-metrics
.NOTPARALLEL:

demo:
	scripts/setup-debian demo
	scripts/demo

test: set-up check-format check-scripts check-lints run-tests check-docs check-metrics

set-up:
	@scripts/step "set-up" scripts/setup-tests

check-format:
	@scripts/step "formatting" cargo fmt --check

check-scripts:
	@scripts/step "scripts" scripts/check-scripts

check-lints:
	@scripts/step "lints" cargo clippy --locked --all-targets -- -D warnings

# Built first, so that what is left over afterwards can only come from the tests.
run-tests:
	@scripts/step "building tests" cargo test --locked --no-run
	@scripts/step "tests" scripts/without-leftovers env RUST_BACKTRACE=0 cargo test --locked --no-fail-fast

check-docs:
	@scripts/step "documentation" env RUSTDOCFLAGS="-D warnings" \
		cargo doc --locked --no-deps --document-private-items

check-metrics:
	@scripts/step "metrics" scripts/check-metrics

# Ratios against the Go exporter, both fed by the same fake pgbackrest in one run; then the operator with a fleet.
bench:
	scripts/setup-debian
	scripts/fetch-pgbackrest
	scripts/bench
