# Without a target, make lists the targets. Each sets up the environments that it needs; all it takes is
# Python 3.10 or newer and PyPI.

PYTHON ?= python3
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := .venv/$(SCRIPTS)
TARGETS := csv duckdb jsonl postgres
THE_TAP := --no-deps --no-build-isolation --editable .
# --no-strip-extras: the pip of Python 3.10 and 3.11 finds no hash for mashumaro[msgpack] otherwise.
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 \
	--generate-hashes --no-annotate --no-header --no-strip-extras
DEV := pyproject.toml --extra progress --extra sandbox --group dev

# dbt over the demo's files.
DBT = cd examples/dbt && COMPOSE_FILES=../../demo-output COMPOSE_ANSWERS=../../demo-output/compose.duckdb \
	../../.venvs/dbt/$(SCRIPTS)/dbt --quiet
SANDBOX_NOW = --vars '{now: "2018-06-01 12:00:00"}'

ifneq ($(filter-out help clean,$(MAKECMDGOALS)),)
ifneq ($(shell { $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 10))'; } 2> /dev/null),True)
$(error tap-compose needs Python 3.10 or newer, and $(PYTHON) is not: name one with make PYTHON=python3.12)
endif
endif

# $(call install,ENVIRONMENT,LOCK[,FURTHER ARGUMENTS OF PIP])
PIP_INSTALL = $(1)/$(SCRIPTS)/python -m pip install --quiet --disable-pip-version-check
define install
@echo "installing locks/$(2).txt into $(1)"
@$(PYTHON) -m venv --clear $(1)
@$(PIP_INSTALL) --require-hashes -r locks/$(2).txt
@$(if $(3),$(PIP_INSTALL) $(3))
@touch $@
endef

.PHONY: help demo answers test test-all bench build audit docs lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## load the sandbox's account into JSONL files in demo-output/, and show the rows
	@$(MAKE) --silent -j 2 .venvs/demo/.ready .venvs/target-jsonl/.ready
	@.venvs/demo/$(SCRIPTS)/compose-sandbox demo --target .venvs/target-jsonl/$(SCRIPTS)/target-jsonl

answers: demo .venvs/dbt/.ready  ## turn the demo's files into tables and a report, with dbt and DuckDB
	@rm -f demo-output/compose.duckdb*
	@$(DBT) build $(SANDBOX_NOW)
	@$(DBT) show $(SANDBOX_NOW) --limit 50 --inline "select severity, control, deployment_name, reason from {{ ref('controls') }} where status = 'alarm' order by array_position(['critical', 'high', 'medium', 'low'], severity), control, deployment_name"
	@COMPOSE_ANSWERS=demo-output/compose.duckdb .venvs/dbt/$(SCRIPTS)/python examples/dbt/report.py demo-output/answers.html
	@echo "all answers are in demo-output/compose.duckdb, a report of them in demo-output/answers.html"
	@echo "query them, with uv: uvx --from duckdb-cli duckdb demo-output/compose.duckdb -c 'FROM answers.controls'"

test: .venv/.ready .venvs/singer-tools/.ready .venvs/target-jsonl/.ready  ## lint, types and tests; a few minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	for each in linux darwin win32; do $(BIN)/mypy --platform $$each --cache-dir .mypy_cache/$$each || exit 1; done
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: test $(patsubst %,.venvs/%/.ready,sdk-next meltano dagster dbt $(TARGETS:%=target-%))  ## those, and the tests that take minutes
	$(BIN)/python -m pytest -m slow -s
	.venvs/sdk-next/bin/python -m pytest -n 2 --dist loadfile

bench: .venv/.ready .venvs/benchmarks/.ready  ## measure the tap next to others and alone, and write benchmarks/RESULTS.md; half an hour
	$(BIN)/python -m benchmarks.compare

build: .venv/.ready .venvs/release/.ready  ## wheel and sdist into dist/, checked
	rm -rf dist
	$(BIN)/python -m hatchling build
	.venvs/release/bin/twine check --strict dist/*

audit: .venvs/release/.ready  ## look for known vulnerabilities in the locked packages
	for each in locks/*.txt; do .venvs/release/bin/pip-audit --strict --disable-pip --require-hashes -r $$each || exit 1; done

docs: .venv/.ready  ## generate from the code: catalog, meltano.yml, tables of the pages, pictures
	$(BIN)/python -m tools.documents

lock: .venv/.ready  ## choose new versions of all that is installed here
	$(LOCK) $(DEV) -o locks/dev.txt
	$(LOCK) pyproject.toml --extra progress --extra sandbox --group build -c locks/dev.txt -o locks/demo.txt
	$(LOCK) $(DEV) locks/sdk-next.in -o locks/sdk-next.txt
	for each in $(filter-out locks/sdk-next.in,$(wildcard locks/*.in)); do $(LOCK) $$each -o $${each%.in}.txt; done

clean:  ## remove the environments and the output of the demo
	rm -rf .venv .venvs demo-output

.venv/.ready: locks/dev.txt pyproject.toml
	$(call install,.venv,dev,$(THE_TAP))

.venvs/demo/.ready: locks/demo.txt pyproject.toml
	$(call install,.venvs/demo,demo,$(THE_TAP))

# The tap and its tests on the next singer-sdk.
.venvs/sdk-next/.ready: locks/sdk-next.txt pyproject.toml
	$(call install,.venvs/sdk-next,sdk-next,$(THE_TAP))

.venvs/%/.ready: locks/%.txt
	$(call install,.venvs/$*,$*)
