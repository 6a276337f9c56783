#!/usr/bin/env bash
# Installs the Debian packages that are missing and fetches the demo data. Without an argument: what building and running the
# program takes. --tests: also what the tests take. --style: also the tools that check the sources. Does nothing when all is there.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config
  libfmt-dev libcli11-dev nlohmann-json3-dev zlib1g-dev libpcre2-dev libicu-dev
)
for tier in "$@"; do
  case $tier in
    --tests) packages+=(git python3 libgtest-dev libeigen3-dev groff) ;;
    --style) packages+=(git python3 clang-format clang-tidy) ;;
    *) echo "usage: $0 [--tests] [--style]" >&2; exit 2 ;;
  esac
done
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done

# The demo's alignment is an example file of this package; images that leave documentation out still get it, see below.
alignment=/usr/share/doc/freecontact/examples/demo_1000.aln
data=${RECKON_DATA:-$(cd "$(dirname "$0")/.." && pwd)/data}
need_data=0
[ -f "$data/demo_1000.aln" ] || need_data=1

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if [ ${#missing[@]} -gt 0 ] || { [ $need_data = 1 ] && [ ! -f "$alignment" ] && [ ! -f "$alignment.gz" ]; }; then
  export DEBIAN_FRONTEND=noninteractive
  echo "installing: ${missing[*]:-nothing but the demo data}"
  as_root apt-get update -qq
  [ ${#missing[@]} = 0 ] || as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ $need_data = 1 ]; then
  mkdir -p "$data"
  if [ -f "$alignment" ]; then
    cp "$alignment" "$data/"
  else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root freecontact && dpkg-deb -x freecontact_*.deb x)
    file=$(find "$work/x" -name 'demo_1000.aln*' | head -n 1)
    [ -n "$file" ] || { echo "the package freecontact holds no demo_1000.aln" >&2; exit 1; }
    case "$file" in
      *.gz) gunzip -c "$file" >"$data/demo_1000.aln" ;;
      *) cp "$file" "$data/" ;;
    esac
  fi
fi
# Licence texts: every Debian has them; only regular files, so that no text comes twice under two names.
if [ ! -d "$data/licenses" ]; then
  mkdir -p "$data/licenses"
  find /usr/share/common-licenses -maxdepth 1 -type f -exec cp {} "$data/licenses/" \;
fi
