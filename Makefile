# make demo   the tap against a local Compose API into JSONL files
# make test   lint, types and tests
# make test-all  those, and the tests that take minutes
# make bench  the tap beside others and beside the floor; takes half an hour
# make build  wheel and sdist into dist/, checked
# make audit  known vulnerabilities of everything that is locked
# make scale  what a run takes per deployment and row, for docs/scale.md; three minutes
# make docs   write anew what is generated from the code: catalog, meltano.yml, README's tables
# make lock   choose new versions of everything that is installed here
# Each sets up the environments that it needs; all it takes is Python 3.10 to 3.13 and PyPI.

PYTHON ?= python3
BIN := .venv/bin
TARGETS := csv duckdb jsonl postgres
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 \
	--generate-hashes --no-annotate --no-header
DEV := pyproject.toml --extra progress --extra sandbox --group dev

.PHONY: demo test test-all bench scale build audit docs lock clean

demo: .venv/.ready .venvs/target-jsonl/.ready
	$(BIN)/compose-sandbox demo --target .venvs/target-jsonl/bin/target-jsonl

test: .venv/.ready .venvs/singer-tools/.ready .venvs/target-jsonl/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: test $(patsubst %,.venvs/%/.ready,sdk-next meltano dagster $(TARGETS:%=target-%))
	$(BIN)/python -m pytest -m slow -s
	.venvs/sdk-next/bin/python -m pytest -n 2 --dist loadfile

bench: .venv/.ready .venvs/benchmarks/.ready
	$(BIN)/python -m benchmarks.compare

build: .venv/.ready .venvs/release/.ready
	rm -rf dist
	$(BIN)/python -m hatchling build
	.venvs/release/bin/twine check --strict dist/*

audit: .venvs/release/.ready
	for each in locks/*.txt; do .venvs/release/bin/pip-audit --strict --disable-pip --require-hashes -r $$each || exit 1; done

scale: .venv/.ready .venvs/target-postgres/.ready .venvs/target-jsonl/.ready
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m tests.documents

docs: .venv/.ready .venvs/target-jsonl/.ready
	$(BIN)/python -m tests.documents

lock: .venv/.ready
	$(LOCK) $(DEV) -o locks/dev.txt
	$(LOCK) $(DEV) locks/sdk-next.in -o locks/sdk-next.txt
	for each in $(filter-out locks/sdk-next.in,$(wildcard locks/*.in)); do $(LOCK) $$each -o $${each%.in}.txt; done

clean:
	rm -rf .venv .venvs demo-output

.venv/.ready: locks/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit("tap-compose needs Python 3.10 to 3.13; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python $(PIP_INSTALL) --require-hashes -r locks/dev.txt
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	touch $@

# The tap and its tests on the next singer-sdk.
.venvs/sdk-next/.ready: locks/sdk-next.txt pyproject.toml
	$(PYTHON) -m venv --clear .venvs/sdk-next
	.venvs/sdk-next/bin/python $(PIP_INSTALL) --require-hashes -r locks/sdk-next.txt
	.venvs/sdk-next/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	touch $@

.venvs/%/.ready: locks/%.txt
	$(PYTHON) -m venv --clear .venvs/$*
	.venvs/$*/bin/python $(PIP_INSTALL) --require-hashes -r locks/$*.txt
	touch $@
