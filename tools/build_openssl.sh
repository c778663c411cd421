#!/usr/bin/env bash
# Builds the OpenSSL that released wheels bring with them: manylinux_2_28 has 1.1.1 only. cibuildwheel calls this once in
# its container, see pyproject.toml.
#
# Usage: tools/build_openssl.sh PREFIX [SOURCE.tar.gz]
# Then:  OPENSSL_ROOT_DIR=PREFIX LD_LIBRARY_PATH=PREFIX/lib make wheel
set -euo pipefail

# A release with long-term support, maintained until April 2030. To follow an advisory, change these two lines.
version=3.5.7
sha256=a8c0d28a529ca480f9f36cf5792e2cd21984552a3c8e4aa11a24aa31aeac98e8

prefix=$(realpath -m "${1:?which PREFIX?}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "${2:-}" ]; then
  cp "$2" "$work/openssl.tar.gz"
else
  curl -fsSL --retry 3 -o "$work/openssl.tar.gz" \
    "https://github.com/openssl/openssl/releases/download/openssl-$version/openssl-$version.tar.gz"
fi
echo "$sha256  $work/openssl.tar.gz" | sha256sum --check --quiet ||
  { echo "that is not OpenSSL $version: the checksum is not the one in $0" >&2; exit 1; }
tar -xzf "$work/openssl.tar.gz" -C "$work" --strip-components=1
if command -v dnf >/dev/null; then  # Perl's modules come one by one on AlmaLinux.
  dnf install -y -q perl-IPC-Cmd perl-Time-Piece
fi

# no-autoload-config: another OpenSSL's configuration on a user's machine is not ours to read.
echo "==> Building OpenSSL $version (some minutes)"
cd "$work"
{
  ./Configure --prefix="$prefix" --openssldir="$prefix/ssl" --libdir=lib \
    shared no-apps no-autoload-config no-docs no-engine no-legacy no-module no-tests &&
    make -j "$(nproc)" && make install_dev
} >build.log 2>&1 || { tail -30 build.log >&2; exit 1; }
echo "==> $prefix has OpenSSL $version"
