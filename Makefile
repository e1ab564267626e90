# The two commands of the README are `make demo` and `make test`; each sets up all that it needs.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# How often a test that failed is tried again, and shown: never, but once in CI, which refuses all for one.
RERUNS ?= 0
STEADY := -p pytest_rerunfailures --reruns $(RERUNS) --max-suite-reruns 5 --rerun-show-tracebacks
# And then the whole files of those that failed again: their tests may share a daemon that the first try left as it was.
AGAIN = $(if $(filter-out 0,$(RERUNS)),|| $(BIN)/python -m tests.again -m $(MEASURED))
# Most tests wait for processes: more workers than cores. One file stays on one worker, as its tests share a daemon.
PYTEST := pytest -p pytest_asyncio.plugin -p xdist.plugin $(STEADY) -n 4 --dist loadfile --no-loadscope-reorder -q
# How often `make crash` kills the daemon, and how those kills are drawn: `make crash KILLS=5000 SEED=7`; and how often
# `make nightly` does, where its hours suffice.
KILLS ?= $(if $(filter nightly,$(MAKECMDGOALS)),5000,200)
SEED ?= 1
# Which tests `make crash` runs before that: CI leaves out what is more of the same.
CRASH ?= crash
# How many documents `make fuzz` damages for each parser.
EXAMPLES ?= 10000
# How many stories `make simulate` tells, and the first; `make simulate SEED=123` tells that one, aloud.
SEEDS ?= $(if $(filter nightly,$(MAKECMDGOALS)),1000000,2000)
FROM ?= 0
# How long `make nightly` may take, and where it leaves its reports.
HOURS ?= 8
NIGHTS ?= var/nightly
# What `make test` runs: the rest has targets of its own.
SHORT := 'not crash and not slow and not engine and not browser'
# What `make coverage` does.
MEASURED := 'not crash and not engine and not browser'
# For how many seconds `make load` asks.
DURATION ?= 600
SIMULATED = $(if $(filter command,$(origin SEED)),--seed $(SEED),--seeds $(SEEDS) --from $(FROM))
export PYTEST_DISABLE_PLUGIN_AUTOLOAD := 1
# What Python has compiled is kept, whatever the shell says: else every worker compiles all tests anew, which is two
# thirds of the processor's time that collecting them takes, and every daemon that a test starts all of itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint types contract examples crash slow engines e2e faults fuzz simulate mutants unit scenarios coverage bench bench-full recovery spread lock clean load nightly

demo: $(VENV)/ready
	$(BIN)/ugs demo

test: check
	$(BIN)/python -m $(PYTEST) -m $(SHORT)

check: lint types contract examples

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

contract: $(VENV)/ready
	$(BIN)/lint-imports

examples: $(VENV)/ready
	$(BIN)/ugs check .

# The tests of `make test` and of `make slow`, measured: which takes a good deal longer.
coverage: $(VENV)/ready
	rm -f .coverage .coverage.* var/failed.txt
	$(BIN)/python -m coverage run -m $(PYTEST) -p tests.again -m $(MEASURED) $(AGAIN)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report

crash: $(VENV)/ready
	$(BIN)/python -m $(PYTEST) --dist load -m '$(CRASH)'
	$(BIN)/python -m tests.crash --kills $(KILLS) --seed $(SEED)

# The long stories that `make test` leaves out, so that it stays under ten minutes on two cores.
slow: $(VENV)/ready
	$(BIN)/python -m $(PYTEST) -m 'slow and not crash and not engine'

# Every driver's scenarios on its real engine, as root; `make engines ENGINES=docker` on that one alone.
engines: $(VENV)/ready
	PYTEST_ADDOPTS="$(STEADY)" $(BIN)/python -m tests.engines $(ENGINES)

# Writes the tables of docs/reliability.md from the marks on the tests.
faults: $(VENV)/ready
	$(BIN)/python -m tests.faults

# The dashboard in Debian's Chromium, without a window, over real daemons.
e2e: $(VENV)/ready
	$(BIN)/python -m pytest -p pytest_asyncio.plugin $(STEADY) -q tests/browser

fuzz: $(VENV)/ready
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m $(PYTEST) --dist load tests/fuzz

# The daemon's unit: sound, and exposed less than 2.0 of 10.
unit:
	systemd-analyze verify systemd/ugs.service
	systemd-analyze security --offline=true --no-pager --threshold=20 systemd/ugs.service

simulate: $(VENV)/ready
	$(BIN)/python -m tests.simulation $(SIMULATED)

mutants: $(VENV)/ready
	$(BIN)/python -m tests.simulation --mutation all --seeds 1000

# All that goes on for as long as it is let, and one report: `make nightly HOURS=2 KILLS=1000`.
nightly: $(VENV)/ready
	$(BIN)/python -m tests.nightly --hours $(HOURS) --kills $(KILLS) --seeds $(SEEDS) --examples $(EXAMPLES) --load $(DURATION) --folder $(NIGHTS)

scenarios: $(VENV)/ready
	$(BIN)/python -m $(PYTEST) tests/scenarios

# Requests beside 1,000 services: the figures of docs/api.md. Ten minutes, or `make load DURATION=20`.
load: $(VENV)/ready
	$(BIN)/python -m benchmarks.load --duration $(DURATION)

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.scale 1000 10000

# The same table at a hundred thousand pins too: writes the figures and the drawing of docs/performance.md.
bench-full: $(VENV)/ready
	$(BIN)/python -m benchmarks.scale 1000 10000 100000 --write docs/performance.md

# How far a bad release gets on 100,000 hosts: the figures of docs/hosts.md.
spread: $(VENV)/ready
	$(BIN)/python -m benchmarks.spread

recovery: $(VENV)/ready
	$(BIN)/python -m benchmarks.recovery

lock: $(VENV)/ready
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --output-file constraints.txt pyproject.toml

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist var
