# Two commands do all the set-up on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
# A release whose plain name may be a CPU build; elsewhere set TORCH to what suits the machine.
TORCH ?= torch==2.13.0
BIN = .venv/bin

.PHONY: demo test lint clean

demo: .venv/.runtime
	$(BIN)/tisdiss-rt separate runtime/tisdiss_rt/example/two_voices.wav -o demo --force
	$(BIN)/python benchmarks/demo.py demo

test: lint
	$(BIN)/pytest

lint: .venv/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.runtime: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[cpu]'
	touch $@

.venv/.development: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet '$(TORCH)'
	$(BIN)/pip install --quiet --editable '.[cpu,export,train,dev]'
	touch $@ .venv/.runtime

clean:
	rm -rf .venv demo build dist
