# Everything a person types here. Each target makes what it needs first; nothing has to be installed by hand.
.DEFAULT_GOAL := help
PREPARE := bash tools/prepare.sh
VENV := .venv/bin

.PHONY: help demo test chaos lint format types bench package lowest sanitize clean

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

bench: ## Measure against the pure-Python algorithm, bare EVALSHA and bare SQL, beside the gates
	@$(PREPARE) bench
	@$(VENV)/python tests/benchmarks/bench.py

package: ## Build sdist and wheel, and test the wheel where there is no source tree
	@$(PREPARE) package
	@$(VENV)/python tools/package.py

lowest: ## Run the Python tests with the lowest Python, Django and DRF that are supported
	@$(PREPARE) package
	@$(VENV)/python tools/package.py --lowest

sanitize: ## Run the C++ tests under the address, undefined-behaviour and thread sanitizers
	@$(PREPARE) build gtest
	@mkdir -p build
	@for preset in asan tsan; do \
	  $(VENV)/cmake --preset $$preset > build/$$preset.log 2>&1 && $(VENV)/cmake --build --preset $$preset -j 2 >> build/$$preset.log 2>&1 \
	    || { cat build/$$preset.log; exit 1; }; \
	  $(VENV)/ctest --preset $$preset --output-on-failure -j 2 | tail -4; test $${PIPESTATUS[0]} -eq 0 || exit 1; \
	done

clean: ## Remove what was built, but not the virtual environment
	@rm -rf build dist .cmake CMakeCache.txt CMakeFiles CMakeInit.txt cmake_install.cmake build.ninja .ninja_* *.a
	@rm -f python/otp_actions/*.so

SHELL := /bin/bash
