#!/usr/bin/env bash
# Long runs of the tests that look for lost or repeated effects: seeds of
# the simulation, cases of the property tests, kills of the libvirt daemon under
# changing guests, and crashes of the server at every step of a command.
set -euo pipefail
cd "$(dirname "$0")/.."
seeds=$1 kills=$2
echo "== simulation, $seeds seeds"
BELVEDERE_SEEDS=$seeds cargo test --release -p server --lib simulation
echo "== property tests"
PROPTEST_CASES=5000 cargo test --release -p model -p hypervisor --lib
echo "== the server crashes at every step of a command, ten times"
for _ in $(seq 10); do cargo test -q -p server --test crash --test calls -- --ignored; done
echo "== libvirt's daemon is killed $kills times"
end2end/host/guest.sh
cargo build -q -p server
cargo leptos build --release --precompress --split --frontend-only
cd end2end
KILLS=$kills npx playwright test --project=script -g "killed"
