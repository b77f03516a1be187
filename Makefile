# `make demo` and `make test` work as the first command typed in a fresh clone: each sets up what it needs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# A user's own environment must not leak into what uv.lock says.
unexport VIRTUAL_ENV PYTHONPATH UV_PROJECT_ENVIRONMENT
# Behind a proxy with a certificate of its own, the system knows it and uv does not.
export UV_SYSTEM_CERTS := 1
# The theme of the documentation announces its successor at each build.
export NO_MKDOCS_2_WARNING := 1

UV := $(shell command -v uv || echo .cache/uv/bin/uv)
RUN := $(UV) run --frozen --no-sync
CACHE := .cache
# What only the distribution has, as program:package; everything else comes as a wheel.
SERVERS := prometheus:prometheus chromium:chromium nginx:nginx-light varnishd:varnish pgbouncer:pgbouncer \
    haproxy:haproxy rsyslogd:rsyslog openssl:openssl curl:curl dot:graphviz npm:npm \
    prometheus-pushgateway:prometheus-pushgateway zsh:zsh tcsh:tcsh
# Debian has its servers where only root looks.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.PHONY: demo
demo: $(CACHE)/synced ## Run the example with telemetry, on real servers that it starts itself
	$(RUN) c2cotel demo

.PHONY: test
test: lint unit acceptance ## Check the code and run every test

.PHONY: lint
lint: $(CACHE)/synced ## Check style, types, the architecture's contracts and the documentation's links
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) mkdocs build --strict --quiet

.PHONY: unit
unit: $(CACHE)/synced servers ## Run the fast tests: all on the oldest CPython >= 3.11 found, on others what knows them
	@$(RUN) python tests/interpreters.py > $(CACHE)/interpreters
	@$(MAKE) --no-print-directory --jobs=2 $$(sed 's/ .*//; s/^/unit-/' $(CACHE)/interpreters)
	@$(MAKE) --no-print-directory $$(sed 's/ .*//; s/^/alone-/' $(CACHE)/interpreters)

# The oldest CPython runs all tests. 3.12 runs those of what knows SQLAlchemy, with the oldest one that
# is supported; others run those of what knows the interpreter: forks, threads, frames, hooks.
ON_3.12 := $(addprefix tests/,c2cotel/db c2cotel/db_maintenance c2cotel/errors c2cotel/health_check \
    c2cotel/kernel c2cotel/sql_profiler c2cotel/stats_db c2cotel/test_models_graph.py c2cotel/test_sqlalchemylogger.py \
    c2cotel_instrumentation)
ON_OTHERS := $(addprefix tests/,$(filter c2cotel_%,$(notdir $(wildcard tests/*))) $(addprefix c2cotel/,broadcast debug metrics \
    otel prometheus sentry)) $(wildcard tests/c2cotel/test_*.py)

# They wait more than they compute: several at a time take little longer than one. What measures time
# has the machine for itself, so it comes last, one interpreter after the other.
.PHONY: unit-%
unit-%:
	@UV_PROJECT_ENVIRONMENT=$(CACHE)/python-$* \
	    $(UV) sync --frozen --quiet --python "$$(sed -n 's/^$* //p' $(CACHE)/interpreters)" \
	    $$([ $* = 3.12 ] && echo --no-group sqlalchemy-2-1 --group sqlalchemy-2-0)
	@echo "== $@ begins"
	@$(call units,$*,-m "not alone" --numprocesses=3 --dist=loadfile)

.PHONY: alone-%
alone-%:
	@$(call units,$*,-m alone)

# Those that this CPython runs, with these options. What they say is told at the end: two runs at once.
units = tests="$(or $(ON_$(1)),$(ON_OTHERS))"; \
	if [ $(1) = "$$(sed -n '1s/ .*//p' $(CACHE)/interpreters)" ]; then tests=tests; fi; \
	$(CACHE)/python-$(1)/bin/python -m pytest $$tests $(2) > $(CACHE)/$@.log 2>&1 || failed=1; \
	    echo "== $@"; cat $(CACHE)/$@.log; exit $${failed:-0}

.PHONY: coverage
coverage: $(CACHE)/synced ## Tell which lines the fast tests do not reach
	$(RUN) pytest tests --cov --cov-report=term

.PHONY: acceptance
acceptance: $(CACHE)/synced servers ## Run the black-box tests: real gunicorn, PostgreSQL, Prometheus
	$(RUN) pytest acceptance/tests -m "not alone" --numprocesses=3 --dist=loadfile
	$(RUN) pytest acceptance/tests -m alone

.PHONY: bench
bench: $(CACHE)/synced ## Measure the cost of metrics, requests and statements next to the alternatives
	$(RUN) python acceptance/benchmark/bench.py

.PHONY: dashboards
dashboards: $(CACHE)/synced ## Write the dashboards' JSON
	cd dashboards/src && $(abspath .venv)/bin/python -m c2cotel_boards.build

.PHONY: pictures
pictures: $(CACHE)/synced servers ## Draw the dashboards for the README, with Grafana's own components
	$(RUN) python dashboards/pictures/draw.py

.PHONY: docs
docs: $(CACHE)/synced ## Build the documentation into .cache/site
	$(RUN) mkdocs build --strict

.PHONY: docs-generated
docs-generated: $(CACHE)/synced ## Write the pages of the documentation that are made of the code
	PYTHONPATH=docs/src:dashboards/src $(RUN) python -m c2cotel_docs.build

.PHONY: links
links: $(CACHE)/synced ## Ask every address that the documentation links to; needs the Internet
	PYTHONPATH=docs/src $(RUN) python -m c2cotel_docs.links

.PHONY: servers
servers:
	@missing=; \
	for server in $(SERVERS); do \
	    command -v $${server%:*} >/dev/null || missing="$$missing $${server#*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else \
	    echo "Tests are skipped for want of:$$missing (sudo apt-get install$$missing)" >&2; \
	fi

# Everything that uv.lock names, in .venv.
$(CACHE)/synced: uv.lock pyproject.toml
	@command -v $(UV) >/dev/null || { python3 -m venv $(CACHE)/uv && $(CACHE)/uv/bin/pip install --quiet uv; }
	$(UV) sync --frozen --quiet
	@mkdir -p $(CACHE) && touch $@

.PHONY: clean
clean: ## Remove what the other commands have made
	rm -rf .venv $(CACHE) dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
