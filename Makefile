# make demo    an environment of its own, then the main job from end to end (a few minutes on two cores)
# make test    the same environment, then ruff, mypy and pytest

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo demo-real test format clean

demo: $(VENV)/demo-ready
	$(BIN)/cosdd-zoo demo --overwrite

demo-real: $(VENV)/demo-ready
	$(BIN)/cosdd-zoo demo --real --overwrite -o cosdd-demo-real

test: $(VENV)/test-ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

format: $(VENV)/test-ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/demo-ready: pyproject.toml packaging/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c packaging/constraints.txt -e .
	touch $@

$(VENV)/test-ready: $(VENV)/demo-ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c packaging/constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) cosdd-demo cosdd-demo-real
