#!/usr/bin/env bash
# Everything that reads the code without running it. `make lint` calls this after it has made .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=()

check() {  # check NAME COMMAND...: say what is being done, and go on after a failure
  printf '==> %s\n' "$1"
  "${@:2}" || failed+=("$1")
}

tidy() {
  $bin/cmake --preset tidy -DPython_EXECUTABLE="$PWD/$bin/python" >build/tidy.log || { cat build/tidy.log; return 1; }
  git ls-files -co --exclude-standard 'cpp/src/*.cc' 'cpp/bindings/*.cc' |
    xargs -P "$(nproc)" -n 2 $bin/clang-tidy -p build/tidy --quiet 2>build/tidy.err || { tail -5 build/tidy.err; return 1; }
}

format() {
  git ls-files -co --exclude-standard -z '*.cc' '*.h' | xargs -0 $bin/clang-format --dry-run --Werror
}

mkdir -p build
check "ruff check" $bin/ruff check .
check "ruff format" $bin/ruff format --check .
check "shellcheck" $bin/shellcheck .ci/run tools/*.sh
check "clang-format" format
check "clang-tidy" tidy
check "mypy" $bin/mypy
check "mypy, as a user sees it" $bin/mypy tests/typing/check_api.py
check "stubtest" $bin/python -m mypy.stubtest otp_actions._core --mypy-config-file pyproject.toml --allowlist tests/typing/stubtest-allowlist.txt
check "import contract" $bin/lint-imports --no-logo

if [ ${#failed[@]} -gt 0 ]; then
  printf 'lint: failed: %s\n' "$(IFS=,; echo "${failed[*]}")"
  exit 1
fi
echo "lint: everything is in order"
