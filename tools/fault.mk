# What injects faults: the server with failpoints and the fault proxy (docs/faults.md).
FAILPOINTD := build/$(if $(SAN),$(SAN)$(comma))failpoints/holdfastd
PROXY := $(B)/tests/proxy

.PHONY: failpoints
failpoints:
	@$(MAKE) --no-print-directory -s FAILPOINTS=1 $(FAILPOINTD) $(dir $(FAILPOINTD))holdfast
$(PROXY): $(patsubst %.c,$(B)/obj/%.o,jepsen/proxy.c jepsen/proxy_pair.c)

# ROOT=1 chooses the tests that need root; without it they say so.
test-root: binaries $(LOAD)
	@ROOT=1 $(INTEGRATION) $(ONLY)
.PHONY: test-root

# Error paths over the disk and the table in memory.
LINK_fault := $(LINK_node)
FAULT := $(patsubst %.c,$(B)/%,$(wildcard tests/fault/*_test.c))
$(FAULT): $(B)/tests/fault/%: $(B)/obj/tests/fault/%.o $(call support,$(LINK_fault)) \
  $(call archive,$(LINK_fault))
	@mkdir -p $(@D)
	$(CC) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDFLAGS) -lcmocka \
	  $(call libs,$(LINK_fault))
fault: $(FAULT)
	@tools/run-tests.sh $^
.PHONY: fault
