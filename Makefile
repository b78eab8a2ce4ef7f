# Every target sets up what it needs: a virtual environment in .venv with the pinned packages of requirements.txt.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Compiled once: the tests start hundreds of hubs.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: audit demo test fuzz lint bench chaos handbook clean

$(STAMP): requirements.txt pyproject.toml
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## the main job on the embedded default; KEEP=1 leaves the hub running
	@$(PY) -m tests.demo $(if $(KEEP),--keep)

test: $(STAMP) lint ## everything that needs no server
	@$(PY) -m pytest -n auto --dist loadgroup

fuzz: $(STAMP) ## every test again, with other random input each time
	@$(PY) -m pytest -n auto --dist loadgroup --hypothesis-profile=search

lint: $(STAMP)
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

audit: $(STAMP) ## known weaknesses of the pinned packages; skipped where the network does not allow it
	@$(PY) -m pip install --quiet --disable-pip-version-check pip-audit || { echo "audit: pip-audit is not to be had here, skipped"; exit 0; }; \
	out=$$($(PY) -m pip_audit -r requirements.txt --disable-pip --no-deps --progress-spinner off 2>&1); echo "$$out"; ! echo "$$out" | grep -q "^Found "

bench: $(STAMP) ## one table: each figure, the raw limit beside it, the ratio
	@$(PY) -m benchmarks

handbook: $(STAMP) ## pages, OpenAPI, AsyncAPI and WSDL of every plugin, into handbook/
	@$(VENV)/bin/hub docs --out handbook

chaos: $(STAMP) ## hundreds of kills, stalls and full disks; about an hour
	@$(PY) -m pytest -m chaos tests/chaos --chaos-rounds=200 -n 0

clean:
	rm -rf $(VENV) var handbook build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
