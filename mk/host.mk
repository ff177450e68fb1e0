# The host: the installed SIP server that the module is built for. tools/host.sh finds out the facts; here they
# become make variables and the folder with the host's headers, kept so that later builds need no network.
#
#   KAMAILIO=      the host's program, when it is not found by itself
#   KAMAILIO_SRC=  a source tree of the host's version, instead of the one that is fetched

export KAMAILIO KAMAILIO_SRC CC

HOST := $(shell tools/host.sh find 2>/dev/null)
ifneq ($(HOST),)
HOST_VERSION := $(shell tools/host.sh version)
HOST_MODULES := $(shell tools/host.sh modules)
endif

# A tree of the user's own gets a folder of its own, named after its path.
HOST_DIR := $(BUILD)/host-$(or $(HOST_VERSION),none)
ifneq ($(KAMAILIO_SRC),)
HOST_DIR := $(HOST_DIR)-$(firstword $(shell printf '%s' '$(abspath $(KAMAILIO_SRC))' | md5sum))
HOST_TREE := $(wildcard $(KAMAILIO_SRC)/config.mak $(KAMAILIO_SRC)/src/config.mak)
endif

# A response file for the compiler: the host's headers and definitions.
HOST_CFLAGS := $(HOST_DIR)/cflags

$(HOST_CFLAGS): $(HOST_TREE) | preflight
	@tools/host.sh headers $(HOST_DIR)

.PHONY: host-headers
host-headers: $(HOST_CFLAGS)

# One clear line when the compiler, the OpenSSL headers or the host are missing or do not fit.
.PHONY: preflight
preflight:
	@tools/host.sh preflight
