# Targets that run things; the build itself is in the Makefile.
FUZZ_SECONDS ?= 60
include tools/fault.mk

deps:
	@tools/deps.sh

demo: deps
	@$(MAKE) --no-print-directory -s -j2 binaries
	@tests/integration/demo.sh

# Programs that the integration tests run beside the product.
HELPERS := $(patsubst tests/integration/%.c,$(B)/tests/%,$(wildcard tests/integration/*.c))
LOAD := $(B)/tests/load
TEST_PROGRAMS = binaries $(UNIT) $(FAULT) $(HELPERS) $(BIN)/sim $(if $(SAN),,build/tiny/sim) failpoints
INTEGRATION = BIN=$(BIN) LOAD=$(LOAD) FAILPOINTD=$(FAILPOINTD) PROXY=$(PROXY) \
  python3 tests/integration/run.py
$(HELPERS): $(B)/tests/%: $(B)/obj/tests/integration/%.o $(call archive,$(LINK_client))
	@mkdir -p $(@D)
	$(CC) -o $@ $(filter %.o,$^) -Wl,--start-group $(call archive,$(LINK_client)) -Wl,--end-group $(LDFLAGS) \
	  $(call libs,$(LINK_client))

SIM_SEEDS ?= 100
# What sanitizer builds run too: the fuzzers have sanitizers of their own.
STAGES = unit '$(MAKE) --no-print-directory -s unit' \
  fault '$(MAKE) --no-print-directory -s fault' \
  sim 'SIM=$(BIN)/sim TINY=$(if $(SAN),,build/tiny/sim) SEEDS=$(SIM_SEEDS) tests/sim/test.sh' \
  integration '$(INTEGRATION)'
test: deps
	@$(MAKE) --no-print-directory -s -j2 $(TEST_PROGRAMS)
	@tools/stages.sh $(STAGES) checkers 'tools/lint-test.sh' \
	  $(if $(SAN),,fuzz 'tests/fuzz/run.sh 10')
# The thread sanitizer finds nothing in virtual time, and is ten times slower there: few seeds.
test-sanitized: deps
	@$(MAKE) --no-print-directory -s -j2 $(TEST_PROGRAMS)
	@$(if $(findstring thread,$(SAN)),NODE_SEEDS=10 RAFT_SEEDS=100 SIM_SEEDS=5) TEST_TIMEOUT=600 \
	  tools/stages.sh $(STAGES)
soak: deps
	@$(MAKE) --no-print-directory -s -j2 $(TEST_PROGRAMS)
	@SOAK=1 RAFT_SEEDS=50000 NODE_SEEDS=5000 SIM_SEEDS=2000 TEST_TIMEOUT=3600 tools/stages.sh $(STAGES)
check: test lint
	@SAN=address,undefined $(MAKE) --no-print-directory test-sanitized
	@SAN=thread $(MAKE) --no-print-directory test-sanitized
ci: test lint

# The simulator: the product's objects, the fakes of the tests, and the core of the client, of which
# only core_*() is seen: it is never in one program with a node otherwise, and names may be the same.
SIM_LIBS = $(B)/lib/sim.a $(call support,node log base) $(call archive,$(LINK_node) jepsen) \
  $(B)/lib/client-core.o
$(B)/lib/sim.a: $(filter-out %/main.o,$(call objects,tests/sim))
$(B)/lib/client-core.o: $(filter $(B)/obj/client/core%,$(call objects,client))
	@mkdir -p $(@D)
	$(LD) -r -o $@ $^
	objcopy --wildcard --keep-global-symbol='core_*' $@
$(BIN)/sim: $(B)/obj/tests/sim/main.o $(SIM_LIBS)
	$(CC) -o $@ $< -Wl,--start-group $(SIM_LIBS) -Wl,--end-group $(LDFLAGS) $(call libs,wire base)

SEEDS ?= 2000
FROM ?= 1
# TINY=1: the product with queues so short that their ends are met all the time.
SIM := $(if $(TINY),build/tiny/sim,$(BIN)/sim)
ifneq ($(MODE),tiny)
build/tiny/sim: FORCE
	@CFLAGS=-DLIMITS_TINY $(MAKE) --no-print-directory -s MODE=tiny B=build/tiny $@
endif
FORCE:
sim: $(SIM)
	@$(SIM) $(SEED)
sim-many: $(SIM)
	@$(SIM) --many $(SEEDS) --from $(FROM)
# Goes on where the record of fresh seeds ends: RECORD=FILE SECONDS_MAX=n (tests/sim/campaign.py).
sim-campaign: $(SIM)
	@python3 tests/sim/campaign.py $(SIM)
sim-shrink: $(SIM)
	@$(SIM) --shrink $(SEED)
sim-mutants: $(BIN)/sim
	@CC='$(CC)' CFLAGS='$(CFLAGS)' MAIN='$(B)/obj/tests/sim/main.o' LIBS='$(SIM_LIBS)' \
	  CORE='$(filter $(B)/obj/client/core%,$(call objects,client))' FOLDER='$(B)/mutants' SIM='$(BIN)/sim' \
	  LDFLAGS='$(LDFLAGS) $(call libs,wire base)' python3 tests/sim/mutants.py $(ONLY)
.PHONY: sim sim-many sim-campaign sim-shrink sim-mutants FORCE

integration: binaries $(HELPERS) failpoints
	@$(INTEGRATION) $(ONLY)
lint: deps
	@$(MAKE) --no-print-directory -s -j2 MODE=plain all
	@tools/lint.sh
format:
	@git ls-files -co --exclude-standard '*.c' '*.h' '*.def' | grep -v '\.def$$' | xargs clang-format -i
fuzz: deps
	@tests/fuzz/run.sh $(FUZZ_SECONDS)
bench: deps
	@$(MAKE) --no-print-directory -s -j2 binaries
	@tools/bench.sh
# OLD=FOLDER has another build's holdfastd and holdfast (tools/bench/pair.py, stall.py).
bench-pair: binaries
	@python3 tools/bench/pair.py $(or $(OLD),$(error OLD=FOLDER names the build to compare with)) $(BIN)
bench-stall: binaries
	@python3 tools/bench/stall.py $(BIN)
.PHONY: bench-pair bench-stall

# Four failure detectors on the same traces, in virtual time: the tables and the chart of the page.
BEATS ?= 1000000
DETECTOR_BENCH := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/bench/detector/*.c)) \
  $(call archive,$(LINK_failure-detector))
$(B)/tools/detector: $(DETECTOR_BENCH)
	@mkdir -p $(@D)
	$(CC) -o $@ $(DETECTOR_BENCH) $(LDFLAGS) $(call libs,base)
bench-detector: $(B)/tools/detector
	@$< $(BEATS) docs/failure-detector.svg
.PHONY: bench-detector
golden-update: $(UNIT)
	@GOLDEN_UPDATE=1 tools/run-tests.sh $(filter %golden_test %format_test,$(UNIT))
	@git diff --stat -- tests/golden
coverage:
	@$(MAKE) --no-print-directory -s -j2 MODE=coverage B=build/coverage COVERAGE=1 unit
	@tools/coverage.sh build/coverage
include tools/install.mk
clean:
	rm -rf build
