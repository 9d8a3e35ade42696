# What `make install` puts where.
VERSION := $(shell sed -n 's/.*HOLDFAST_VERSION "\(.*\)"/\1/p' base/version.h)
MAN := $(B)/man/holdfast.1 $(B)/man/holdfastd.8 $(B)/man/libholdfast.3
PUBLIC_HEADERS := $(wildcard client/holdfast*.h)

$(B)/man/holdfast.1: $(BIN)/holdfast
$(B)/man/holdfastd.8: $(BIN)/holdfastd
$(B)/man/libholdfast.3: $(BIN)/libholdfast.so
$(MAN): $(B)/man/%: docs/man/% tools/man.sh base/version.h
	@mkdir -p $(@D)
	tools/man.sh $< $(filter $(BIN)/%,$^) $(VERSION) > $@

install: binaries $(MAN)
	install -d $(DESTDIR)$(PREFIX)/{bin,lib/pkgconfig,include,share/holdfast,share/man/man{1,3,8}}
	install -m 755 $(BIN)/holdfastd $(BIN)/holdfast $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BIN)/libholdfast.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(BIN)/libholdfast.so $(DESTDIR)$(PREFIX)/lib/libholdfast.so.$(VERSION)
	ln -sf libholdfast.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/libholdfast.so
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' deploy/holdfast.pc.in \
	  > $(DESTDIR)$(PREFIX)/lib/pkgconfig/holdfast.pc
	for header in $(PUBLIC_HEADERS); do \
	  sed 's|#include "client/|#include "|' $$header > $(DESTDIR)$(PREFIX)/include/$${header##*/}; done
	install -m 644 $(B)/man/holdfast.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(B)/man/libholdfast.3 $(DESTDIR)$(PREFIX)/share/man/man3
	install -m 644 $(B)/man/holdfastd.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 deploy/holdfast.ini deploy/holdfastd.service $(DESTDIR)$(PREFIX)/share/holdfast
