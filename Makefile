# Short names for what people do here; CONTRIBUTING.md says more. PYTHON is the one of your environment.
PYTHON ?= .venv/bin/python
BIN = $(dir $(PYTHON))

.PHONY: setup test slow check format demo figures ci

setup:  ## an environment with everything
	python3 -m venv .venv
	.venv/bin/pip install -e '.[cpu,yaml,test,dev]'

test:  ## the tests
	$(PYTHON) -m pytest

slow:  ## the tests that take long
	$(PYTHON) -m pytest -m slow

check:  ## lint, format, types, import contract
	$(BIN)ruff check
	$(BIN)ruff format --check
	$(BIN)mypy
	$(BIN)lint-imports

format:
	$(BIN)ruff check --fix
	$(BIN)ruff format

demo:
	$(BIN)iaside demo

figures:  ## the README's tables and picture (needs matplotlib)
	$(PYTHON) -m tools.studies.readme_results --figure docs/bundled-models.svg

ci:
	.ci/run
