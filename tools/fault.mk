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
