# What injects faults: the server with failpoints and the fault proxy (docs/faults.md).
FAILPOINTD := build/$(if $(SAN),$(SAN)$(comma))failpoints/holdfastd
PROXY := $(B)/tests/proxy

.PHONY: failpoints
failpoints:
	@$(MAKE) --no-print-directory -s FAILPOINTS=1 $(FAILPOINTD)
