# Two commands do all the set-up on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
# A release whose plain name may be a CPU build; elsewhere set TORCH to what suits the machine.
TORCH ?= torch==2.13.0
SCRIPTS = $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN = .venv/$(SCRIPTS)
TOOLS = build/tools/$(SCRIPTS)
# Tests of a file share what they prepare.
PARALLEL = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test cluster lint docs embed web wheel dist clean

demo: .venv/.runtime
	$(BIN)/tisdiss-rt separate runtime/tisdiss_rt/example/two_voices.wav -o demo --force
	$(BIN)/python -m benchmarks.demo demo

# What measures time runs last, with nothing beside it, and what fails of it once more, alone: on a slow machine three
# such tests side by side can be late. Before, tests run side by side with one thread each.
test: .venv/.development
	$(MAKE) --jobs 2 lint docs
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not realtime" $(PARALLEL)
	$(BIN)/pytest -m realtime --numprocesses 3 --dist load || \
	    $(BIN)/pytest -m realtime --last-failed --last-failed-no-failures none

# The library for C and the binding for C#, built in build/embed and tested: a part of `test` where there are compilers.
embed: .venv/.development
	$(BIN)/pytest tests/embed

# The package for Node and browsers, built in build/web and tested: a part of `test` where there are node and npm.
web: .venv/.development
	$(BIN)/pytest tests/web

# Tests with Ray and Lhotse, in an environment of their own, as both are large and a cluster takes its time.
cluster: build/cluster/.ready
	build/cluster/$(SCRIPTS)/pytest tests/runtime/test_ray.py tests/test_readme.py -k "ray or python"

lint: .venv/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages, in build/site; a link that leads nowhere is an error.
docs: .venv/.development
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The wheel, tested from its file without PyTorch: with the oldest versions that pyproject.toml admits, and with the newest.
wheel: build/tools/.ready
	$(TOOLS)/python tests/packages.py wheel

# What a release consists of, in dist/: source archive, wheel, and the C library for this machine, each tried from its file.
dist: build/tools/.ready
	$(TOOLS)/python tests/packages.py dist

build/tools/.ready:
	$(PYTHON) -m venv build/tools
	$(TOOLS)/python -m pip install --quiet uv cmake nlohmann-json
	touch $@

build/cluster/.ready: pyproject.toml
	$(PYTHON) -m venv build/cluster
	build/cluster/$(SCRIPTS)/pip install --quiet '$(TORCH)'
	build/cluster/$(SCRIPTS)/pip install --quiet --editable '.[cpu,ray,test]' lhotse
	touch $@

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
