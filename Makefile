# make          build/holdfastd, build/holdfast, build/libholdfast.{a,so}
# make deps     install what the build, the tests and lint need (Debian packages; root or sudo)
# make demo     three nodes, a lock, kill -9 of the leader: the lock holds
# make test     every test that needs no root          make check   test + lint + sanitizers
# make sim SEED=n   one simulated cluster with faults    make sim-many SEEDS=n FROM=n   make sim-mutants
# make sim-campaign SEEDS=n   fresh seeds, added up over many runs (docs/testing.md)
# make soak     the long campaigns                      make bench   figures of docs/performance.md
# make lint     layers, purity, banned calls, format, tidy, cppcheck     make format
# make bench-detector  the figures and the chart of docs/failure-detector.md
# make fuzz     fuzzers, FUZZ_SECONDS=60 each           make coverage
# make install PREFIX=/usr/local DESTDIR=
# make unit-raft    the unit tests of one folder        make golden-update   rewrite golden files
# make fault        every operation fails in turn       make test-root   power cuts, full disks (root)
# SAN=address,undefined make test   the same tests with sanitizers, under build/address,undefined
# make FAILPOINTS=1 binaries        a server that fails on demand, build/failpoints (docs/faults.md)
.DELETE_ON_ERROR:
.SECONDARY:
SHELL   := /bin/bash
PREFIX  ?= /usr/local
CC      ?= gcc
FUZZ_CC ?= clang
comma   := ,
empty   :=
space   := $(empty) $(empty)
MODE    := $(subst $(space),$(comma),$(or $(strip $(SAN) $(if $(FAILPOINTS),failpoints)),plain))
B       := build/$(MODE)

FOLDERS := base log raft lease kv crdt failure-detector wire node server client command jepsen
# What a test of a folder is linked with, outermost first (tools/layers.txt says who may include).
LINK_base   := base
LINK_log    := log base
LINK_raft   := raft base
LINK_lease  := lease base
LINK_kv     := kv base
LINK_failure-detector := failure-detector base
LINK_crdt   := crdt base
LINK_wire   := wire raft lease kv base
LINK_node   := node wire log raft lease kv base
LINK_server := server node wire log raft lease kv base
LINK_client := client wire raft lease kv base
LINK_command := command $(LINK_client)
LINK_jepsen  := jepsen base

WARN := -Wall -Wextra -Wpedantic -Werror -Wconversion -Wsign-conversion -Wshadow \
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wcast-align \
  -Wwrite-strings -Wpointer-arith -Wundef -Wvla -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough \
  -Wdouble-promotion -Wnull-dereference -fno-common
ifeq ($(findstring clang,$(CC)),)
WARN += -Wduplicated-cond -Wduplicated-branches -Wlogical-op -Wjump-misses-init -Warith-conversion
endif
OPT    := $(if $(SAN),-O1 -fsanitize=$(SAN) -fno-sanitize-recover=all,-O3 -D_FORTIFY_SOURCE=2)
OPT    += $(if $(findstring thread,$(SAN)),-Wno-error=tsan)
OPT    += $(if $(COVERAGE),-O0 --coverage -U_FORTIFY_SOURCE)
CFLAGS += $(if $(FAILPOINTS),-DHOLDFAST_WITH_FAILPOINTS) -std=c11 $(WARN) $(OPT) -g3 -fno-omit-frame-pointer -fstack-protector-strong \
  -fPIC -fno-semantic-interposition -I.
LDFLAGS += $(if $(COVERAGE),--coverage) $(if $(SAN),-fsanitize=$(SAN)) -Wl,-z,relro,-z,now -pthread
LIBS_base   := -lxxhash -lm
LIBS_wire   := -lmsgpackc
LIBS_server := -luv $(if $(FAILPOINTS),-l:liblmdb.a,-llmdb) -linih
LIBS_client := -luv
libs = $(foreach f,$(1),$(LIBS_$f))

FOLDER_command := client/command
sources = $(filter-out %/main.c,$(wildcard $(or $(FOLDER_$(1)),$(1))/*.c)) $(EXTRA_$(1))
EXTRA_server := $(if $(FAILPOINTS),$(wildcard server/failpoint/*.c))
EXTRA_command := $(EXTRA_server)
WRAPPED := -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
objects = $(patsubst %.c,$(B)/obj/%.o,$(call sources,$(1)))
archive = $(foreach f,$(1),$(B)/lib/$f.a)
support = $(foreach f,$(1),$(if $(wildcard tests/support/$f/*.c),$(B)/lib/support-$f.a))
UNIT    := $(foreach f,$(FOLDERS),$(patsubst %.c,$(B)/%,$(wildcard tests/unit/$f/*_test.c)))

.PHONY: all deps demo test check soak bench lint format fuzz coverage install golden-update ci \
  clean unit integration binaries
all: binaries $(call archive,crdt failure-detector)
ifeq ($(MODE),plain)
BIN := build
else
BIN := $(B)
endif
binaries: $(BIN)/holdfastd $(BIN)/holdfast $(BIN)/libholdfast.a $(BIN)/libholdfast.so

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

define folder_rules
$(B)/lib/$(1).a: $(call objects,$(1))
$(B)/lib/support-$(1).a: $(call objects,tests/support/$(1))
$(B)/tests/unit/$(1)/%: $(B)/obj/tests/unit/$(1)/%.o $(call support,$(LINK_$(1))) \
  $(call archive,$(LINK_$(1)))
	@mkdir -p $$(@D)
	$(CC) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LDFLAGS) -lcmocka \
	  $(call libs,$(LINK_$(1)))
unit-$(1): $(filter $(B)/tests/unit/$(1)/%,$(UNIT))
	@tools/run-tests.sh $$^
.PHONY: unit-$(1)
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_rules,$f)))
$(B)/lib/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

$(BIN)/holdfastd: $(B)/obj/server/main.o $(call archive,$(LINK_server))
	$(CC) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDFLAGS) \
	  $(if $(FAILPOINTS),$(WRAPPED)) $(call libs,$(LINK_server))
$(BIN)/holdfast: $(B)/obj/client/command/main.o $(call archive,$(LINK_command))
	$(CC) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDFLAGS) \
	  $(if $(FAILPOINTS),$(WRAPPED)) $(call libs,$(LINK_command))
# Changes when programs that were built with an earlier header could not run with this library.
SONAME  := libholdfast.so.0
LIBRARY := $(foreach f,client wire base,$(call objects,$f))
$(BIN)/libholdfast.a: $(LIBRARY)
	@rm -f $@
	$(AR) rcs $@ $^
$(BIN)/libholdfast.so: $(LIBRARY) $(call archive,raft lease kv) client/libholdfast.map
	$(CC) -shared -Wl,-soname,$(SONAME) -o $@ $(LIBRARY) $(call archive,raft lease kv) $(LDFLAGS) \
	  -Wl,--version-script=client/libholdfast.map $(call libs,client wire base)
	@ln -sf libholdfast.so $(BIN)/$(SONAME)

unit: $(UNIT)
	@tools/run-tests.sh $^
-include tools/targets.mk
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
