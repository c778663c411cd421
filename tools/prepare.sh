#!/usr/bin/env bash
# Makes .venv, and builds the package into it. Usage: tools/prepare.sh GROUP [gtest | clang | valgrind]
# GROUP is a dependency group of pyproject.toml; the other asks for GoogleTest, clang with libFuzzer, or valgrind too.
#
# What is missing on the system is installed when this runs as root on Debian or Ubuntu (NO_INSTALL=1: never);
# elsewhere the command to type is printed.
set -euo pipefail
cd "$(dirname "$0")/.."
group=$1
python=${PYTHON:-python3}

say() { if [ -t 1 ]; then printf '\033[1m==> %s\033[0m\n' "$*"; else printf '==> %s\n' "$*"; fi; }

missing=()       # Debian's names
need() { missing+=("$1"); }
works() { "$@" >/dev/null 2>&1; }

compiles() {  # compiles HEADER [CONDITION]: the header is found, and the preprocessor condition holds
  printf '#include <%s>\n#if !(%s)\n#error\n#endif\n' "$1" "${2:-1}" | works c++ -std=c++20 -fsyntax-only "${@:3}" -x c++ -
}

if ! works "$python" -c 'import sys; assert sys.version_info >= (3, 10)'; then
  if works "$python" --version; then
    echo "Python 3.10 or later is needed; $python is $("$python" --version). Say which to use: PYTHON=/path/to/python make ..." >&2
    exit 1
  fi
  need python3; need python3-venv; need python3-dev
else
  works "$python" -c 'import ensurepip, venv' || need python3-venv
fi
works c++ --version || need g++
compiles openssl/evp.h 'OPENSSL_VERSION_MAJOR >= 3' || need libssl-dev
if works "$python" --version; then
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  compiles Python.h 1 "-I$include" || need python3-dev
fi
fuzzes() {  # clang is there, and so are the runtimes of libFuzzer and of the sanitizers
  local program status=0
  program=$(mktemp)
  echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
    works clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o "$program" || status=1
  rm -f "$program"
  return $status
}
case ${2:-} in
  gtest) compiles gtest/gtest.h || need libgtest-dev ;;
  clang) fuzzes || { need clang; need libclang-rt-dev; } ;;
  valgrind) { works valgrind --version && compiles valgrind/memcheck.h; } || need valgrind ;;
esac
case $group in
  test | lint | coverage | mutants | bench)  # They all install mysqlclient, which is built here.
    if ! works pkg-config --exists libmariadb && ! works pkg-config --exists mysqlclient; then
      need libmariadb-dev; need pkg-config
    fi
    ;;
  wheel)  # Without debootstrap, or where it cannot work, the wheel is tested in a virtual environment.
    if [ "$(id -u)" = 0 ] && works apt-get --version && [ -z "${NO_INSTALL:-}" ]; then
      works debootstrap --version || need debootstrap
    fi
    ;;
esac

if [ ${#missing[@]} -gt 0 ]; then
  # A missing compiler makes every header look missing; naming them all is right then.
  packages=$(printf '%s\n' "${missing[@]}" | sort -u | tr '\n' ' ')
  sudo=$([ "$(id -u)" = 0 ] || echo 'sudo ')
  if works apt-get --version; then
    command="${sudo}apt-get install -y --no-install-recommends $packages"
  elif works dnf --version; then
    command="${sudo}dnf install -y gcc-c++ openssl-devel python3-devel gtest-devel mariadb-connector-c-devel pkgconf clang compiler-rt valgrind-devel"
  elif works brew --version; then
    command="brew install openssl@3 googletest llvm mariadb-connector-c pkgconf && xcode-select --install"
  elif works apk --version; then
    command="${sudo}apk add g++ openssl-dev python3-dev gtest-dev mariadb-connector-c-dev pkgconf linux-headers clang compiler-rt valgrind-dev"
  else
    command="(install a C++20 compiler, OpenSSL 3 headers, Python headers with venv, GoogleTest, clang, valgrind, and MariaDB's client library)"
  fi
  if [ "$(id -u)" != 0 ] || ! works apt-get --version || [ -n "${NO_INSTALL:-}" ]; then
    printf 'Missing on this machine: %s\nType this, then try again:\n\n    %s\n\n' "$packages" "$command" >&2
    exit 1
  fi
  say "Installing what is missing: $packages(NO_INSTALL=1 stops this)"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086  # A list of names.
  apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

if ! works .venv/bin/python -c 'import pip'; then
  say "Making a virtual environment in .venv"
  rm -rf .venv
  "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
fi

stamp=.venv/.group-$group
if ! cmp -s pyproject.toml "$stamp"; then
  say "Installing Python packages ($group)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --group build --group "$group"
  cp pyproject.toml "$stamp"
fi

# CMake decides what has changed; when nothing has, this takes a few seconds.
built=.venv/.built
if [ ! -e "$built" ] || [ -n "$(find pyproject.toml CMakeLists.txt cpp/include cpp/src cpp/bindings python/otp_actions/__init__.py -newer "$built" -type f -print -quit)" ] ||
  ! works .venv/bin/python -c 'import otp_actions._core'; then
  say "Building the C++ core and installing Django (one to three minutes the first time)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable .
  touch "$built"
fi
