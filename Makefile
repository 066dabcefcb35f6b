PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format clean

demo: .venv/installed  ## from nothing to labels in DuckDB, on the embedded model
	$(BIN)/annotator run demo
	$(BIN)/annotator query --table demo "SELECT category, count(*) AS regions, round(avg(score), 2) AS score FROM regions WHERE category IS NOT NULL GROUP BY 1 ORDER BY 2 DESC LIMIT 8"

test: .venv/installed  ## every test
	$(BIN)/python -m pytest -q

check: .venv/installed  ## format, lint, types, contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv tables checkpoints

# torch first and by itself: pip then takes the build that the machine offers.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), f\"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 ...\""
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
