# Everything a person types here. Each target makes what it needs first; nothing has to be installed by hand.
.DEFAULT_GOAL := help
PREPARE := bash tools/prepare.sh
VENV := .venv/bin

.PHONY: help demo test chaos lint format bench docs coverage mutants wheel matrix sanitize fuzz secrets clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: ## Start the example server, show the whole exchange, keep serving (ONCE=1: stop after it)
	@$(PREPARE) build
	@$(VENV)/python examples/demo/drive.py $(if $(ONCE),--once)

test: ## Build and run the C++ and the Python tests, against a real Redis, PostgreSQL and MariaDB
	@$(PREPARE) test gtest
	@$(VENV)/python tools/run_tests.py

chaos: ## Kill workers and whole servers under load, and count what was lost (ROUNDS=10)
	@$(PREPARE) test
	@$(VENV)/python tools/chaos.py --rounds $(or $(ROUNDS),10)

lint: ## Formatting, linters, clang-tidy, types, the import contract
	@$(PREPARE) lint gtest
	@bash tools/lint.sh

format: ## Put every file into shape
	@$(PREPARE) lint
	@$(VENV)/ruff check --fix --quiet . ; $(VENV)/ruff format --quiet .
	@$(VENV)/clang-format -i $$(git ls-files -co --exclude-standard '*.cc' '*.h')

bench: ## Measure against the pure-Python algorithm, OpenSSL, bare EVALSHA and SQL, beside the gates (ONLY=core,drf PLOT=file)
	@$(PREPARE) bench
	@PYTHONPATH=tests $(VENV)/python -m benchmarks.bench $(if $(ONLY),--only $(ONLY)) $(if $(PLOT),--plot $(PLOT))

docs: ## Build the site into build/docs/html; warnings, dead links within it and anything loaded from elsewhere are errors
	@$(PREPARE) docs
	@$(VENV)/python tools/build_docs.py

coverage: ## Measure what the tests run: C++ lines, Python lines and branches; fails below a floor (REPORT=1: of the last run)
	@$(PREPARE) coverage gtest
	@$(VENV)/python tools/coverage_report.py $(if $(REPORT),--report)

mutants: ## Break the code on purpose and require that a test notices: about two hours (WHAT=core or python, ONLY=file, FRESH=1)
	@$(PREPARE) mutants gtest
	@$(VENV)/python tools/mutants.py $(WHAT) $(if $(ONLY),--only $(ONLY)) $(if $(FRESH),--fresh)

wheel: ## Build sdist and manylinux wheel in dist/, and test it without a compiler or the system's OpenSSL
	@$(PREPARE) wheel
	@$(VENV)/python tools/wheel.py

matrix: ## Test every Python with the lowest and highest Django and DRF (ENDS=1: two cells, FRESH=1: forget results)
	@$(PREPARE) matrix
	@ENDS=$(ENDS) FRESH=$(FRESH) $(VENV)/nox

sanitize: ## Run the C++ tests under the address, undefined-behaviour and thread sanitizers, Python tests under the first two
	@$(PREPARE) suite gtest
	@mkdir -p build
	@for preset in asan tsan; do \
	  $(VENV)/cmake --preset $$preset -DPython_EXECUTABLE=$$PWD/$(VENV)/python > build/$$preset.log 2>&1 \
	    && $(VENV)/cmake --build --preset $$preset -j 2 >> build/$$preset.log 2>&1 \
	    && $(VENV)/ctest --preset $$preset -j 2 > build/$$preset.log 2>&1 || { cat build/$$preset.log; exit 1; }; \
	  printf 'sanitize: %s: ' $$preset; grep 'tests passed' build/$$preset.log; \
	done
	@$(VENV)/python tools/sanitize_bindings.py

fuzz: ## Fuzz the core under ASan and UBSan, and compare it with cryptography and json (FUZZ_SECONDS=60)
	@$(PREPARE) test clang
	@$(VENV)/python tools/fuzz.py

secrets: ## Show with valgrind that no branch and no address depends on a secret where codes and tags are compared
	@$(PREPARE) build valgrind
	@bash tools/secrets.sh

clean: ## Remove what was built, but not the virtual environment
	@rm -rf build dist .cmake CMakeCache.txt CMakeFiles CMakeInit.txt cmake_install.cmake build.ninja .ninja_* *.a
	@rm -f python/otp_actions/*.so

SHELL := /bin/bash
