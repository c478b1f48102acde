#!/usr/bin/env bash
# Runs every test and ends with one line: N passed, N failed.
# A failed step does not skip the following ones.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0 NO_COLOR=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0

# A step without its own count counts as one test.
check() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAILED: $name"
  fi
}

# Adds up the closing lines of cargo test.
rust() {
  echo "== $1"
  shift
  "$@" 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]} p f
  p=$(grep -oE '^test result: .* [0-9]+ passed' "$log" | grep -oE '[0-9]+ passed' | awk '{n += $1} END {print n + 0}')
  f=$(grep -oE '[0-9]+ failed;' "$log" | awk '{n += $1} END {print n + 0}')
  # A failed build counts as a failure.
  if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
  passed=$((passed + p)) failed=$((failed + f))
}

browser() {
  echo "== browser"
  (cd end2end && npx playwright test "$@") 2>&1 | tee "$log"
  local status=${PIPESTATUS[0]} f s
  f=$(grep -oE '^ +[0-9]+ failed' "$log" | awk '{print $1}' | tail -n 1)
  s=$(grep -oE '^ +[0-9]+ skipped' "$log" | awk '{print $1}' | tail -n 1)
  passed=$((passed + $(grep -oE '^ +[0-9]+ passed' "$log" | awk '{print $1}' | tail -n 1 | grep . || echo 0)))
  if [ "$status" != 0 ] && [ -z "$f" ]; then f=1; fi
  failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
}

check "format" cargo fmt --all --check
check "lints" cargo clippy --quiet --workspace --exclude frontend --features server/oidc,server/otel,server/pam --all-targets -- -D warnings
check "lints of the browser's half" cargo clippy --quiet -p frontend --target wasm32-unknown-unknown --target-dir target/front --profile wasm-release -- -D warnings
rust "model, hypervisor, server, tidy" cargo test --no-fail-fast --workspace --exclude frontend
rust "server: traces, a provider, the system" cargo test --no-fail-fast -p server --features oidc,otel,pam --lib --test otel --test attacks
end2end/host/guest.sh || failed=$((failed + 1))
rust "server: many readers, and clocks that jump" cargo test --no-fail-fast -p server --test load -- --ignored
if [ "$(id -u)" = 0 ]; then
  rust "hypervisor against real QEMU" cargo test --no-fail-fast -p hypervisor --test real --test real_around --test real_network --test real_quiet --test real_storage -- --ignored
  rust "server: crashes, failing disks, figures" cargo test --no-fail-fast -p server --test crash --test calls --test disk --test flood --test stats --test content --test guest --test console --test hosts --test attack_run -- --ignored
  rust "server: system users (PAM)" cargo test --no-fail-fast -p server --features oidc,otel,pam --test pam -- --ignored --test-threads 1
else
  echo "skipped: hypervisor against real QEMU, because libvirtd needs root"
  echo "skipped: server: crashes and failing disks, because libvirtd and the test disk need root"
  echo "skipped: server: system users (PAM), because creating them needs root"
  skipped=$((skipped + 3))
fi
check "site" cargo leptos build --release --precompress --split --frontend-only
check "server" cargo build --quiet -p server --features oidc,otel,pam
check "the document of the API" scripts/contract.sh
browser

[ "$skipped" = 0 ] || echo "$skipped skipped, each with its reason above"
if [ -n "${CI:-}" ] && [ "$skipped" -gt 0 ]; then
  echo "in CI nothing may be skipped"
  failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
