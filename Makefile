# Two commands are enough: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: demo test test-slow lint sheets bench endurance clean

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $(STAMP)

# The main job on embedded data: per-modality tables and LEADERBOARD.md.
COMPARATORS = --tokenizer mean --tokenizer down8 --tokenizer down16 \
	--tokenizer jpeg --tokenizer webp --tokenizer avif
demo: $(STAMP)
	$(BIN)/medbench run --tokenizer meditok $(COMPARATORS) --task recon --dataset medsynth --limit 16
	$(BIN)/medbench run --tokenizer meditok $(COMPARATORS) --task recon --dataset sample
	$(BIN)/medbench leaderboard --results results --output LEADERBOARD.md
	$(BIN)/medbench leaderboard --results results --output site

# A file's tests stay together, because they share what they prepare.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# With BEGIN_WITHIN=40, tests that have not begun after 40 minutes are skipped.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -rs $(if $(BEGIN_WITHIN),--begin-within=$(BEGIN_WITHIN))

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# Contact sheets of medsynth; with MEDBENCH_DATA also beside real images, under results/sheets.
sheets: $(STAMP)
	$(BIN)/python docs/sheets.py

# Faults injected into every task and into training; at most half an hour.
endurance: $(STAMP)
	$(BIN)/python benchmarks/endurance --update docs/endurance.md

bench: $(STAMP)
	$(BIN)/python benchmarks/image_metrics.py
	$(BIN)/python benchmarks/frechet.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/audit.py search
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/inception.py
	$(BIN)/python benchmarks/probe.py
	$(BIN)/python benchmarks/synthesis.py
	$(BIN)/python benchmarks/site.py

clean:
	rm -rf $(VENV) build dist *.egg-info results site LEADERBOARD.md
