# make demo    an environment of its own, then the main job from end to end (a few minutes on two cores)
# make test    the same environment, then ruff, mypy and pytest
# make bench   an environment with the other denoisers as well, then all of them side by side (hours)

PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
ILASTIK_VENV ?= .venv-ilastik
HYPHA ?= .hypha
BIN := $(VENV)/bin

.PHONY: demo demo-real test bench bench-gpu bench-smoke conformance conformance-libtorch conformance-ilastik \
    conformance-java web format clean FORCE

demo: $(VENV)/demo-ready
	$(BIN)/cosdd-zoo demo --overwrite

demo-real: $(VENV)/demo-ready
	$(BIN)/cosdd-zoo demo --real --overwrite -o cosdd-demo-real

test: $(VENV)/test-ready $(HYPHA)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

# REAL=folder of the real sets, AUTHORS_CODE=clone of krulllab/COSDD; without them these rows say that they are missing
MINUTES ?= 10
SEED ?= 0
DATA ?= stripes ar1 checkerboard $(if $(REAL),actin w2s)
bench: $(BENCH_VENV)/bench-ready
	$(BENCH_VENV)/bin/python benchmarks/bench.py --minutes $(MINUTES) --seed $(SEED) --data $(DATA) \
	    $(if $(SIDES),--sides $(SIDES)) $(if $(REAL),--real $(REAL)) $(if $(AUTHORS_CODE),--authors-code $(AUTHORS_CODE))

# ours against the authors' code on a GPU, by a Python that has torch, lightning and numpy; under nine minutes
bench-gpu:
	$(PYTHON) benchmarks/gpu.py $(if $(AUTHORS_CODE),--authors-code $(AUTHORS_CODE))

bench-smoke: $(BENCH_VENV)/bench-ready
	cd benchmarks && $(abspath $(BENCH_VENV))/bin/python -m sides.smoke $(abspath $(AUTHORS_CODE))

# every kind of package in every version of bioimageio.core and bioimageio.spec that matters, the former in environments
# of their own of 1.5 GB each; about twelve minutes. A part of it is in every `make test`
conformance: $(VENV)/test-ready
	$(BIN)/python tests/conformance/matrix.py -o docs/conformance.md --work .conformance

# the same packages' weights in libtorch 1.13.1 to 2.14.1, by a C++ program; downloads 3 GB and keeps 2
conformance-libtorch: $(VENV)/test-ready
	$(BIN)/python tests/conformance/libtorch.py -o docs/conformance-libtorch.md --work .conformance

# the kept packages and some variants in tiktorch's own server, as ilastik runs them. TIKTORCH=clone of ilastik/tiktorch,
# PYTORCH3DUNET=clone of wolny/pytorch-3dunet at 1.9.2 (which the registry no longer has); PACKAGES=others
KEPT := $(wildcard tests/kept/*.zip)
FOR_ILASTIK := $(or $(PACKAGES),$(KEPT) $(patsubst %,.conformance/%.zip,fixed-size explicit-processing noise-axis-y small))
PACKAGES ?= $(KEPT)
conformance-ilastik: $(ILASTIK_VENV)/ready $(filter .conformance/%,$(FOR_ILASTIK))
	@test -d "$(TIKTORCH)/tiktorch" -a -d "$(PYTORCH3DUNET)/pytorch3dunet" || \
	    { echo "Give TIKTORCH=... and PYTORCH3DUNET=..., clones of ilastik/tiktorch and wolny/pytorch-3dunet."; exit 1; }
	BIOIMAGEIO_PERFORM_IO_CHECKS=0 PYTHONPATH="$(abspath $(TIKTORCH)):$(abspath $(PYTORCH3DUNET))" \
	    $(ILASTIK_VENV)/bin/python tests/conformance/inside_tiktorch.py $(FOR_ILASTIK) \
	    -o docs/conformance-ilastik.md

# written only where it is not there yet, or older than the code
.conformance/%.zip: $(VENV)/test-ready FORCE
	$(BIN)/python tests/conformance/variants.py $@

# the packages in Java by DJL, as deepImageJ runs them; needs a JDK (17), Maven and Maven Central
conformance-java:
	@sh packaging/java/run.sh $(PACKAGES)

# the page that denoises in a browser, into packaging/web/dist; needs Node.js and npm
web:
	cd packaging/web && npm ci --no-fund --no-audit && npm run build

format: $(VENV)/test-ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/demo-ready: pyproject.toml packaging/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c packaging/constraints.txt -e .
	touch $@

$(VENV)/test-ready: $(VENV)/demo-ready .conformance/runtimes/ready
	$(BIN)/pip install --quiet --disable-pip-version-check -c packaging/constraints.txt -e ".[dev]"
	touch $@

# the other versions of bioimageio.core and bioimageio.spec, for tests/test_conformance.py
.conformance/runtimes/ready: tests/conformance/runtimes.py | $(VENV)/demo-ready
	$(BIN)/python tests/conformance/runtimes.py .conformance/runtimes
	touch $@

$(ILASTIK_VENV)/ready: packaging/requirements-ilastik.txt
	$(PYTHON) -m venv $(ILASTIK_VENV)
	$(ILASTIK_VENV)/bin/pip install --quiet --disable-pip-version-check -r packaging/requirements-ilastik.txt
	touch $@

# the zoo's own server, for the tests of uploading; without npm they are skipped
$(HYPHA)/ready: tests/zoo/requirements.txt tests/zoo/package-lock.json
	mkdir -p $(HYPHA)
	@if command -v npm > /dev/null; then set -ex; \
	    $(PYTHON) -m venv $(HYPHA)/venv; \
	    $(HYPHA)/venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r tests/zoo/requirements.txt; \
	    cp tests/zoo/package.json tests/zoo/package-lock.json $(HYPHA)/; \
	    npm ci --prefix $(HYPHA) --no-fund --no-audit; \
	else echo "npm is not here, so the tests of uploading are skipped."; fi
	touch $@

$(BENCH_VENV)/bench-ready: pyproject.toml packaging/constraints-bench.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check -c packaging/constraints-bench.txt -e ".[bench]"
	touch $@

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(ILASTIK_VENV) $(HYPHA) .conformance cosdd-demo cosdd-demo-real
