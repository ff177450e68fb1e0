# tls.so: SIP over TLS for servers of the SER family.
#
#   make              build tls.so for the installed host
#   make run          a demonstration server with it, which proves itself with one request
#   make check        all tests; make check-style and the like run one stage (CONTRIBUTING.md); HOSTS=13: and their core in a Debian 13
#   make check-quick  the quick answer: style, the parts, and the core of the tests with a server
#   make fuzz         every fuzzer for FUZZ_SECONDS (60)
#   make bench        speed and memory beside the packaged module, haproxy and OpenSSL alone; QUICK=1 for the main rows
#   make bench-doc    put what was measured into doc/performance.md; make bench-programs builds the load generator and the like
#   make diet         every block that an idle connection keeps in shared memory
#   make soak         everything at once for SOAK_SECONDS (an hour), with a report and a picture
#   make check-hosts  the tests in other Debian systems, made below build (as root)
#   make check-deb    the Debian package in a Debian 12 and a Debian 13, made below build (as root)
#   make deps         install what the build and the demonstration need (Debian packages)
#   make install      put the module where the host finds it; make uninstall takes it away
#   make deb          a Debian package for the installed host, whose tls.so takes the place of the packaged one
#   make format       lay out the C files as .clang-format says
#   make clean        remove what was built; make distclean also the host's headers and the demonstration's keys
#   make V=1          build with the commands shown; without it there is one short line a file
#   make help         this
#
# make -s says nothing at all.
#
# Variables: KAMAILIO, KAMAILIO_SRC (mk/host.mk), CC, CFLAGS, LDFLAGS, TLS_EXTRA_LIBS (more libraries to link),
# DESTDIR, prefix, exec_prefix, libdir, MODULES_DIR (make install), DEB_VERSION (make deb), TLS_PORT, SIP_PORT, ONCE=1 (make run).

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O2 -g
BUILD := build
PYTHON := /usr/bin/python3

# The short line: $(call say,WORD,FILE) before a command, which begins with $(Q).
Q := $(if $(filter 1,$(V)),,@)
SILENT = $(findstring s,$(firstword -$(MAKEFLAGS)))
say = $(if $(filter 1,$(V))$(SILENT),,@printf '%s %s\n' '$(1)' '$(2)')

include mk/host.mk

ROOMS := heap host settings material crypto/openssl connection
SOURCES := $(wildcard tls_*.c $(ROOMS:%=%/*.c))
HEADERS := $(wildcard tls*.h crypto/*.h $(ROOMS:%=%/*.h))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror
MODULE_CFLAGS := -std=gnu11 $(CFLAGS) -fPIC -fvisibility=hidden $(WARNINGS) -I. -DMOD_NAME='"tls"'
MODULE_LIBS := -lssl -lcrypto -lz -lpthread $(TLS_EXTRA_LIBS)

.PHONY: all
all: tls.so

tls.so: $(OBJECTS) $(BUILD)/obj/flags
	$(if $(SOURCES),,$(error no sources (tls_*.c) here: run make at the top of the checkout))
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(CFLAGS) -Wl,-z,relro,-z,now $(LDFLAGS) -o $@.part $(OBJECTS) $(MODULE_LIBS)
	@tools/host.sh try $(CURDIR)/$@.part
	@mv $@.part $@
	@$(if $(SILENT),:,printf '%s\n' $(call quote,tls.so is ready for the host $(HOST) $(HOST_VERSION)))

$(BUILD)/obj/%.o: %.c $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(MODULE_CFLAGS) @$(HOST_CFLAGS) -MMD -MP -c -o $@ $<

# Changes only when the flags or the host do, so that everything is built again then, and only then.
$(BUILD)/obj/flags: $(HOST_CFLAGS) FORCE
	@mkdir -p $(@D)
	@new=$@.$$$$; \
		{ printf '%s\n' $(call quote,$(CC) $(MODULE_CFLAGS) $(LDFLAGS) $(MODULE_LIBS)); cat $(HOST_CFLAGS); } >$$new || exit; \
		cmp -s $$new $@ && rm $$new || { [ ! -f tls.so ] || tools/host.sh compare $(CURDIR)/tls.so; mv $$new $@; }

.PHONY: FORCE
FORCE:

.PHONY: help
help:
	@sed -n '/^$$/q; s/^#   //p' Makefile

-include $(OBJECTS:.o=.d)

.PHONY: deps deps-check deps-quick deps-style deps-unit deps-asan deps-tsan deps-fuzz deps-server
deps:
	@tools/deps.sh run

# What all tests need, or some of them.
deps-check deps-quick deps-style deps-unit deps-asan deps-tsan deps-fuzz deps-server: deps-%:
	@tools/deps.sh $*

# The demonstration: everything from nothing, then the host in the foreground until Ctrl-C. ONCE=1 stops after the
# proof. A second make, because what deps installed must be looked at afresh.
TLS_PORT := 5061
SIP_PORT := 5060

.PHONY: run
run: deps
	@$(MAKE) all
	@tools/demo-certs.sh $(BUILD)/demo
	@$(PYTHON) tools/demo.py --dir $(BUILD)/demo --tls-port $(TLS_PORT) --sip-port $(SIP_PORT) $(if $(ONCE),--once)

# Below the host's folder of modules, in a folder that no package uses; with prefix, exec_prefix or libdir below those,
# as is the custom.
ifneq ($(prefix)$(exec_prefix)$(libdir),)
prefix ?= /usr/local
exec_prefix ?= $(prefix)
libdir ?= $(exec_prefix)/lib
MODULES_DIR := $(libdir)/kamailio/modules
else
MODULES_DIR := $(HOST_MODULES)
endif

.PHONY: install uninstall
install: tls.so
	@HOST_MODULES=$(call quote,$(HOST_MODULES)) DESTDIR=$(call quote,$(DESTDIR)) tools/install.sh add $(call quote,$(MODULES_DIR)) \
		$(call quote,$(CURDIR)/tls.so)

uninstall:
	@DESTDIR=$(call quote,$(DESTDIR)) tools/install.sh remove $(call quote,$(MODULES_DIR))

# A second make, because what deps.sh installed must be looked at afresh.
DEB_DIR := $(BUILD)/deb

.PHONY: deb deb-build
deb:
	@tools/deps.sh deb
	@$(MAKE) deb-build

deb-build: $(HOST_CFLAGS)
	@KAMAILIO_SRC='$(if $(KAMAILIO_SRC),$(abspath $(KAMAILIO_SRC)))' DEB_VERSION='$(DEB_VERSION)' tools/deb.sh build '$(DEB_DIR)' $(HOST_DIR)

include mk/check.mk

.PHONY: clean distclean
clean:
	rm -rf tls.so tls.so.part $(addprefix $(BUILD)/,obj unit asan tsan fuzz check load heap floor bare turns bench soak deb)

distclean: clean
	rm -rf $(BUILD)
