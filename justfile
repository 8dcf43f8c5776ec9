# The usual commands. `just` alone lists them.

_default:
    @just --list --unsorted

# Start Sluicegate with its embedded broker
run *arguments:
    cargo run --release -- {{ arguments }}

# Format the code
fmt:
    cargo fmt --all

# Run all tests
test *arguments:
    cargo test --locked {{ arguments }}

# What has to hold before a commit: format, lints, tests, docs, dependencies
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --lib --bins --no-default-features --locked -- -D warnings
    cargo test --locked
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
    cargo deny --locked check
    .ci/validate-compose
    .ci/check-links

# Check the histories of many clients while things break: just history --minutes 10 --seed 7
history *arguments:
    cargo test --locked --test integration -- check-history {{ arguments }}

# Run the criterion benches
bench *arguments:
    cargo bench --locked {{ arguments }}

# Measure the release binary under load: just load --scenarios replay,storm,stalled --kafka 127.0.0.1:9092
load *arguments:
    cargo bench --locked --bench load -- {{ arguments }}

# Measure what one node holds, with a Kafka on loopback: just capacity 127.0.0.1:9092
capacity kafka:
    just load --kafka {{ kafka }} --rounds 3 --scenarios drain,end-to-end,start
    just load --kafka {{ kafka }} --rounds 3 --scenarios delivery --subscribers 1000,5000 --seconds 5
    just load --kafka {{ kafka }} --rounds 3 --scenarios delivery --curve --seconds 5
    just load --kafka {{ kafka }} --rounds 3 --scenarios idle --connections 1000,5000,19000
    just load --kafka {{ kafka }} --rounds 3 --scenarios proxy,round-trip

# Check the binary with clients that other people wrote
foreign:
    cargo build --release --locked
    integration/foreign/run.sh "${CARGO_TARGET_DIR:-target}/release/sluicegate"
    integration/foreign/run.sh "${CARGO_TARGET_DIR:-target}/release/sluicegate" kafka

# Do what the README tells a newcomer to do
smoke:
    .ci/smoke

# Write the tables of docs/configuration.md anew
settings:
    cargo build --release --locked
    .ci/settings-table "${CARGO_TARGET_DIR:-target}/release/sluicegate"

# Everything, as continuous integration does it
ci:
    .ci/run
