#!/usr/bin/env bash
# Runs the benchmarks against the release build; an argument such as B9 selects one.
# Raw values are in target/bench, one file per comparison.
set -euo pipefail
cd "$(dirname "$0")/.."
export BELVEDERE=$PWD/target/release/belvedere
mkdir -p target/bench
# References of some benchmarks.
cargo build --quiet --release -p server --example plain_sse
end2end/host/guest.sh "${XDG_CACHE_HOME:-$HOME/.cache}/belvedere/guest"
cd end2end
npx playwright test --config bench.config.ts ${1:+--grep "\b($1)\b"}
