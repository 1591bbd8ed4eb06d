# Two commands do all the set-up on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
# A release whose plain name may be a CPU build; elsewhere set TORCH to what suits the machine.
TORCH ?= torch==2.13.0
BIN = .venv/bin

.PHONY: demo test lint embed clean

demo: .venv/.runtime
	$(BIN)/tisdiss-rt separate runtime/tisdiss_rt/example/two_voices.wav -o demo --force
	$(BIN)/python -m benchmarks.demo demo

test: lint
	$(BIN)/pytest

# The library for C, the binding for C# and their tests, which are part of `test`, too, where there are compilers.
embed: .venv/.development
	cmake -S runtime/cpp -B build/embed/release/library -DCMAKE_INSTALL_LIBDIR=lib
	cmake --build build/embed/release/library --parallel 2
	$(BIN)/pytest tests/embed

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
