#!/usr/bin/env bash
# Installs missing tools for the steps named as arguments.
# Works on Debian 12 and 13, as root or with sudo; other systems get a clear
# sentence about what to install.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'belvedere: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "installing needs root: run this as root, install sudo, or install by hand: $*"
  fi
}

# Debian systems with QEMU from backports cannot install the one of the release:
# then libvirt and QEMU come from backports as well.
suite_options() {
  local version
  version=$(dpkg-query -W -f '${Version}' qemu-utils 2>/dev/null || true)
  case "$version" in
    *bpo12*) echo "-t bookworm-backports" ;;
  esac
}

add_backports() {
  apt-cache policy 2>/dev/null | grep -q 'bookworm-backports' && return
  local file
  file=$(grep -ls '^Suites: *bookworm bookworm-updates' /etc/apt/sources.list.d/*.sources | head -n 1 || true)
  if [ -n "$file" ]; then
    as_root sed -i 's/^Suites: *bookworm bookworm-updates *$/Suites: bookworm bookworm-updates bookworm-backports/' "$file"
  elif [ -f /etc/apt/sources.list ]; then
    as_root sed -i -E '/^deb .* bookworm main/{p;s/ bookworm main/ bookworm-backports main/}' /etc/apt/sources.list
  fi
}

apt_install() {
  command -v apt-get >/dev/null || fail "please install these packages with your system's tool: $*"
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  local options
  options=$(suite_options)
  [ -n "$options" ] && add_backports
  as_root apt-get update -qq
  # shellcheck disable=SC2086 # the options are words
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $options "${missing[@]}" >/dev/null
}

libvirt() { apt_install libvirt-dev libvirt0 libvirt-common pkg-config gcc; }

daemon() {
  apt_install libvirt-daemon-system libvirt-clients libvirt-daemon-driver-storage libvirt-daemon-driver-network \
    libvirt-daemon-driver-nodedev libvirt-daemon-driver-secret libvirt-daemon-driver-qemu qemu-system-x86 dnsmasq-base iptables \
    busybox-static cpio kmod python3 e2fsprogs coreutils libfaketime xz-utils udev procps
}

bench() { apt_install wrk coreutils nats-server; }

# What reads the document of the API as programs do.
contract() {
  apt_install python3 python3-venv curl
  local folder=$TOOLS/contract stamp
  stamp=$folder/.$(sha256sum scripts/contract.txt | cut -c1-16)
  [ -f "$stamp" ] && return
  say "installing the readers of the API's document"
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement scripts/contract.txt
  touch "$stamp"
}

# For the feature pam.
pam() { apt_install libpam0g-dev passwd; }

browser() { apt_install chromium fonts-dejavu-core; }

rust() {
  command -v cargo >/dev/null || fail "please install Rust with rustup, then run this again"
  command -v rustup >/dev/null && { rustup target list --installed | grep -q wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown; }
  local have
  have=$(wasm-bindgen --version 2>/dev/null | cut -d' ' -f2 || true)
  [ "$have" = 0.2.129 ] || tool wasm-bindgen-cli 0.2.129
}

npm() {
  command -v node >/dev/null || fail "please install Node.js 20 or newer, then run this again"
  local stamp=end2end/node_modules/.stamp
  [ -f "$stamp" ] && [ "$stamp" -nt end2end/package-lock.json ] && return
  say "installing the npm packages"
  (cd end2end && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 command npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  touch "$stamp"
}

# Console scripts, bundled from our parts and two libraries, next to the page's own files.
consoles() {
  local made=public/console/console.js
  [ -f "$made" ] && [ -z "$(find app/consoles end2end/package-lock.json scripts/setup.sh -newer "$made" -print -quit)" ] && return
  rm -rf public/console
  NODE_PATH=end2end/node_modules end2end/node_modules/.bin/esbuild app/consoles/console.ts --bundle --splitting --minify \
    --format=esm --target=es2022 --outdir=public/console --log-level=warning \
    --banner:js='/*! With noVNC (MPL-2.0, https://github.com/novnc/noVNC) and xterm.js (MIT, https://github.com/xtermjs/xterm.js). */'
}

cargo-leptos() {
  local have
  have=$(command cargo-leptos --version 2>/dev/null | cut -d' ' -f2 || true)
  [ "$have" = 0.3.10 ] || tool cargo-leptos 0.3.10 --features no_downloads
}

# A tool from crates.io, compiled for short build time instead of speed.
tool() {
  local name=$1 version=$2
  shift 2
  if command -v cargo-binstall >/dev/null && command cargo-binstall --no-confirm --root "$TOOLS" "$name@$version" 2>/dev/null; then return; fi
  say "building $name $version, once; this takes some minutes"
  CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    RUSTFLAGS="" cargo install --quiet --locked --root "$TOOLS" "$name@$version" "$@"
}

for step in "$@"; do "$step"; done
