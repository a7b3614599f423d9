# The front door. meson and ninja do the work; this file says what people type.
#
#   make            builds build/bin/coracle and the six programs' names
#   make up         starts a cluster with a small web page in it        (UP="--nodes 3 --name test" for more)
#   make down       ends it; nothing is left
#   make test       everything quick: sanitizers, every unit test, corpora, scenarios  (T=pattern for some of it)
#   make test-long  faults, clients, long fuzzing
#   make faults     hurts the store for minutes, and writes build/faults-report.md
#   make bench      measures the budgets of docs/performance.md; with PEER="--server … --token … --process …" another API server
#                   in turn with ours, and prints ratios (bench/README.md)
#   make flames     draws where the time goes, docs/flames (T="create list" for some loads)
#   make fuzz       fuzzes every parser for FUZZ_SECONDS each
#   make fuzz-report  says what each fuzzer's corpora reach
#
# OFFLINE=1 installs nothing. CORACLE_OFFLINE=1 in the environment gives the nodes of clusters no way out.

RELEASE = build/release
ASAN = build/asan
FUZZ = build/fuzz
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
UP ?=
DOWN ?=
T ?=
PEER ?=

.PHONY: all packages-build packages-run packages-test packages-long packages-fuzz packages-flames up down test test-long faults bench flames fuzz fuzz-report clean

all: packages-build
	@tools/build $(RELEASE) $(JOBS) -Dbuildtype=release
	@tools/link-programs $(RELEASE) build/bin

packages-build:
	@tools/packages build
packages-run:
	@tools/packages build run
packages-fuzz:
	@tools/packages build fuzz
packages-flames:
	@tools/packages build run flames
packages-test:
	@tools/packages build run test
packages-long:
	@tools/packages build run test browser

up: packages-run
	@tools/build $(RELEASE) $(JOBS) -Dbuildtype=release
	@tools/link-programs $(RELEASE) build/bin
	@build/bin/coracle up --demo $(UP)

down:
	@if [ -x build/bin/coracle ]; then build/bin/coracle down $(DOWN); \
	else echo "Nothing to end: build/bin/coracle was never built."; fi

test: packages-test
	@tools/build $(ASAN) $(JOBS) -Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false
	@tools/build $(RELEASE) $(JOBS) -Dbuildtype=release
	@tools/link-programs $(RELEASE) build/bin
	@tools/run-tests $(ASAN) quick $(T)

test-long: packages-long
	@tools/build $(ASAN) $(JOBS) -Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false
	@tools/build $(RELEASE) $(JOBS) -Dbuildtype=release
	@tools/link-programs $(RELEASE) build/bin
	@tools/run-tests $(ASAN) long $(T)

faults: packages-test
	@tools/build $(ASAN) $(JOBS) -Dbuildtype=debug -Doptimization=1 -Db_sanitize=address,undefined -Db_lundef=false
	@tools/build $(RELEASE) $(JOBS) -Dbuildtype=release
	@tools/link-programs $(RELEASE) build/bin
	@CORACLE_BUILD=$(CURDIR)/$(ASAN) CORACLE_BIN=$(CURDIR)/build/bin REPORT=$(CURDIR)/build/faults-report.md bash tests/long/faults.sh

bench: packages-run
	@tools/build $(RELEASE) $(JOBS) -Dbuildtype=release
	@tools/link-programs $(RELEASE) build/bin
	@if [ -n "$(PEER)" ]; then bench/compare build/bin -- $(PEER); else bench/run build/bin; fi

flames: packages-flames
	@tools/build $(RELEASE) $(JOBS) -Dbuildtype=release
	@tools/link-programs $(RELEASE) build/bin
	@bench/flames build/bin $(RELEASE) docs/flames $(T)

fuzz: packages-fuzz
	@TARGET=fuzzers CC=clang tools/build $(FUZZ) $(JOBS) -Dbuildtype=debug -Doptimization=1 -Dfuzz=true \
	    -Db_sanitize=address,undefined -Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link
	@tools/run-fuzzers $(FUZZ) $(FUZZ_SECONDS) $(T)

# A build of its own: what was reached is counted in the code.
fuzz-report: packages-fuzz
	@TARGET=fuzzers CC=clang tools/build $(FUZZ)-report $(JOBS) -Dbuildtype=debug -Doptimization=1 \
	    -Dc_args='-fprofile-instr-generate -fcoverage-mapping' -Dc_link_args=-fprofile-instr-generate
	@tools/fuzz-report $(FUZZ)-report $(FUZZ)/corpus $(T)

clean:
	rm -rf build
