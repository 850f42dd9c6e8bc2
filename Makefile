# Everything a newcomer or CI needs. `make demo` and `make test` install what they use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WEB := src/tinsmith/web

.PHONY: gpu-report bench-private bench-mutations bench-mutation-score coverage demo test test-gpu test-long test-judge test-pythons test-ray golden check docs install clean bench-train bench-train-growth bench-int4 bench-int4-1b bench-recipe-speed bench-lm-harness bench-browser bench-browser-soak bench-answers bench-answers-scale bench-facts bench-fact-pairs bench-intervals bench-data-scale bench-duplicates bench-web-gpu

demo: install
	$(BIN)/tinsmith demo

# One thread in each of WORKERS processes; a file's tests stay in one process. ARGS=... goes to pytest.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test: install nginx runtime croissant
	$(PYTEST) -m 'not long' $(ARGS)

# Training, INT4 and the page on this machine's GPU. ARGS=--rehearse does all of it on a processor, with few steps.
gpu-report: install benchmarks/.venv-trl/installed benchmarks/browser_pages/node_modules/.package-lock.json
	DATA='$(DATA)' $(BIN)/python benchmarks/gpu_report.py $(ARGS)

# Every test, also those that are larger forms of what `make test` checks.
test-long: install nginx runtime croissant
	$(PYTEST) $(ARGS)

# What needs an NVIDIA GPU, with a PyTorch for CUDA.
test-gpu:
	PYTHONPATH=src $(PYTHON) -m pytest -q -m gpu $(ARGS)

# How Inspect is asked. Without this its tests are skipped.
test-judge: install .venv-judge/installed
	PYTHONPATH=src .venv-judge/bin/python -m pytest -q tests/assess/test_judge_inspect.py $(ARGS)

# The data stage on Ray. Without this its tests are skipped.
test-ray: install .venv-ray/installed
	PYTHONPATH=src OMP_NUM_THREADS=1 .venv-ray/bin/python -m pytest -q tests/data/test_ray.py $(ARGS)

# The data stage's bytes with other versions of Python. Without this only one version is tested.
PYTHONS := 3.11 3.12 3.13
test-pythons: install $(PYTHONS:%=.venv-python%/installed)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/data/test_python_versions.py $(ARGS)

# After a change of the words of the card or the data report: writes the golden pages anew, to be read and committed.
golden: $(VENV)/installed
	$(BIN)/python -m pytest -q tests/card/test_card_golden.py tests/data/test_report_page.py -k golden --update-golden

# Everything that reads the code without running it: lint, format, types.
check: $(VENV)/installed $(WEB)/node_modules/.package-lock.json
	$(BIN)/ruff check src tests benchmarks docs locks
	$(BIN)/ruff format --check --quiet src tests benchmarks docs locks
	$(BIN)/ty check
	cd $(WEB) && npm run --silent check

# PACKAGE=PATH is a package, such as runs/demo/export/package.
bench-web-gpu: install
	$(BIN)/python benchmarks/web_gpu.py '$(PACKAGE)'

# DATA=PATH chooses other conversations than the public question-answer set.
bench-train: install benchmarks/.venv-trl/installed
	DATA='$(DATA)' $(BIN)/python benchmarks/train.py

bench-train-growth: install
	DATA='$(DATA)' $(BIN)/python benchmarks/train_growth.py

bench-int4: install benchmarks/.venv-int4/installed
	DATA='$(DATA)' $(BIN)/python benchmarks/int4.py

bench-int4-1b: install
	DATA='$(DATA)' $(BIN)/python benchmarks/int4_1b.py

bench-recipe-speed: install $(WEB)/node_modules/.package-lock.json
	DATA='$(DATA)' $(BIN)/python benchmarks/recipe_speed.py

bench-browser: install benchmarks/browser_pages/node_modules/.package-lock.json
	DATA='$(DATA)' $(BIN)/python benchmarks/browser.py

# RUN=PATH chooses another finished run than the demo's.
RUN ?= runs/demo
bench-browser-soak: install
	$(BIN)/python benchmarks/browser_soak.py --run $(RUN)

# QUESTIONS=PATH chooses other questions than the demo's own: a file, or a folder of JSONL files.
bench-answers: install
	$(BIN)/python benchmarks/answers.py --run $(RUN) $(if $(QUESTIONS),--questions '$(QUESTIONS)')

bench-answers-scale: install
	$(BIN)/python benchmarks/answers_scale.py --run $(RUN)

# WORDINGS=PATH names a file of wordings, EPOCHS=2,4,7 the epochs to measure after. Takes hours without a GPU.
bench-facts: install
	$(BIN)/python benchmarks/facts.py --run $(RUN) $(if $(QUESTIONS),--questions '$(QUESTIONS)') $(if $(WORDINGS),--wordings '$(WORDINGS)') $(if $(EPOCHS),--epochs $(EPOCHS))

# PAIRS=PATH names another table of pairs, ANSWERS=PATH questions and references for the controls.
bench-fact-pairs: install
	$(BIN)/python benchmarks/fact_pairs.py $(if $(PAIRS),--pairs '$(PAIRS)') $(if $(ANSWERS),--answers '$(ANSWERS)')

# Simulated test sets of known truth; takes 20 minutes.
bench-intervals: install
	$(BIN)/python benchmarks/intervals.py

# COUNTS="1000 4000" chooses other numbers of questions.
bench-duplicates: install
	$(BIN)/python benchmarks/duplicates.py $(if $(COUNTS),--counts $(COUNTS))

# SIZES="1000 10000" chooses other sizes; a million takes half an hour for each kind of questions, and 12 GB of disk.
bench-data-scale: install
	$(BIN)/python benchmarks/data_scale.py $(if $(SIZES),--sizes $(SIZES))

bench-private: install
	$(BIN)/python benchmarks/private_items.py

# ARGS=--tiny changes every number of a tiny run, which takes an hour.
bench-mutations: install
	$(BIN)/python benchmarks/mutations.py --run $(RUN) $(ARGS)

# Hours. ARGS="--group card --sample 100" tries 100 mutants of one part.
bench-mutation-score: install benchmarks/.venv-mutmut/installed
	$(BIN)/python benchmarks/mutation_score.py $(ARGS)

# Branch coverage of what every number goes through; fails under 95 %.
coverage: install
	$(BIN)/python -m pytest -q --cov --cov-report=term-missing:skip-covered -m 'not browser and not long' \
		tests/card tests/core tests/data tests/evaluate tests/derive tests/test_pipeline.py $(ARGS)

bench-lm-harness: install benchmarks/.venv-lm_harness/installed
	$(BIN)/python benchmarks/lm_harness.py $(RUN)

# The demo without a network, once its inputs are in the cache; ends with the addresses that a program tried to reach.
.PHONY: demo-offline
demo-offline: install
	$(BIN)/tinsmith setup
	$(BIN)/python benchmarks/offline.py $(if $(shell command -v strace),--trace) --save -- $(BIN)/tinsmith demo

# Known weaknesses of what is installed from locks/ and package-lock.json. Asks services on the network.
.PHONY: audit
audit: .venv-audit/installed
	.venv-audit/bin/python locks/audit.py

.venv-audit/installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	touch $@

# Coverage-guided fuzzing of a reader. Of data: lines, document, table, chat, markdown, html; of models: gguf, template, model-json.
TARGET ?= gguf
# Of processor time.
SECONDS ?= 600
.PHONY: fuzz
fuzz: install .venv-fuzz/installed
	PYTHONPATH=src .venv-fuzz/bin/python benchmarks/fuzz.py $(TARGET) --seconds $(SECONDS)

# Peers, each in an environment of its own.
benchmarks/.venv-trl/installed: benchmarks/train_peer_requirements.txt
benchmarks/.venv-int4/installed: benchmarks/int4_peer_requirements.txt
benchmarks/.venv-lm_harness/installed: benchmarks/lm_harness_peer_requirements.txt
benchmarks/.venv-%/installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# mutmut runs our tests, so its environment sees the packages of ours.
benchmarks/.venv-mutmut/installed: benchmarks/mutation_requirements.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tinsmith.pth"
	touch $@

benchmarks/browser_pages/node_modules/.package-lock.json: benchmarks/browser_pages/package-lock.json
	cd $(@D)/.. && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

docs: install
	$(BIN)/python docs/generate.py

install: $(VENV)/installed browser

# Every package is checked against the hashes in locks/. PyTorch goes first: its build for CPUs needs none of locks/cuda.txt.
PIP_LOCKED := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all:
$(VENV)/installed: pyproject.toml $(wildcard locks/*.txt)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tinsmith needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	@if $(PIP_LOCKED) --dry-run -r locks/torch-cpu.txt >/dev/null 2>&1; then \
		$(PIP_LOCKED) -r locks/torch-cpu.txt; \
	else \
		echo "The package index has no PyTorch for CPUs that locks/torch-cpu.txt lists: installing PyPI's"; \
		$(PIP_LOCKED) -r locks/torch.txt -r locks/cuda.txt; \
	fi
	$(PIP_LOCKED) -r locks/run.txt -r locks/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/pip check >/dev/null || { $(BIN)/pip check; echo "The locks lack packages that pyproject.toml names: make lock"; exit 1; }
	touch $@

# After a change of pyproject.toml or constraints.txt: resolves again and writes locks/.
.PHONY: lock
lock: .venv-lock/installed
	.venv-lock/bin/python locks/lock.py
	$(MAKE) --no-print-directory sbom

# The wheel's bill of materials (CycloneDX), from the locks.
.PHONY: sbom
sbom: $(VENV)/installed
	$(BIN)/python locks/sbom.py

.venv-lock/installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	touch $@

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

.PHONY: browser
browser: $(VENV)/installed
	@$(BIN)/python -c 'from tinsmith.browser.chromium import find_browser; find_browser()' 2>/dev/null || $(MAKE) --no-print-directory install-browser

.PHONY: install-browser
install-browser:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Debian's chromium"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else \
		echo "No Chromium or Chrome found. Install one (Debian, Ubuntu: sudo apt-get install chromium) or set TINSMITH_BROWSER to its path." >&2; exit 1; \
	fi

# Before tests, so that their processes do not fetch it side by side.
.PHONY: runtime
runtime: $(VENV)/installed
	@$(BIN)/tinsmith setup

# After a change of the runtime's versions or patches: writes the digests that sites and pages compare.
.PHONY: runtime-digests
runtime-digests: runtime
	$(BIN)/python -m tinsmith.browser.runtime_digests

# What validates croissant.json, in an environment of its own: 350 MB that nothing else needs.
.PHONY: croissant
croissant: .venv-croissant/installed

.venv-croissant/installed: tests/croissant_requirements.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Inspect and Ray need other versions than constraints.txt has, so each has an environment of its own, which sees this one's.
.venv-judge/installed: tests/judge_requirements.txt
.venv-ray/installed: tests/ray_requirements.txt
.venv-judge/installed .venv-ray/installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tinsmith.pth"
	touch $@

# The data stage needs no PyTorch.
.venv-python%/installed: locks/run.txt
	python$* -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r $<
	touch $@

# Atheris has its own environment, which sees this one's packages.
.venv-fuzz/installed: $(VENV)/installed
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check atheris==3.0.0
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tinsmith.pth"
	touch $@

# The site is tested on it, with the configuration it comes with.
.PHONY: nginx
nginx:
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing Debian's nginx-light"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light >/dev/null; \
		else \
			echo "No nginx found; install it to run all tests (Debian, Ubuntu: sudo apt-get install nginx-light)." >&2; exit 1; \
		fi; }

clean:
	rm -rf $(VENV) .venv-audit .venv-croissant .venv-fuzz .venv-judge .venv-lock .venv-python* .venv-ray $(WEB)/node_modules benchmarks/browser_pages/node_modules benchmarks/.venv-* benchmarks/.work
