# The host: the installed SIP server that the module is built for. tools/host.sh finds out the facts; here they
# become make variables and the folder with the host's headers, kept so that later builds need no network.
#
#   KAMAILIO=      the host's program, when it is not found by itself
#   KAMAILIO_SRC=  a source tree of the host's version, instead of the one that is fetched

export KAMAILIO KAMAILIO_SRC CC

# $(call quote,TEXT): as one word for the shell.
quote = '$(subst ','\'',$(1))'

# $(call ask_host,QUESTION): what tools/host.sh answers. It gets the variables by name: what was set on make's command line
# is in the environment of recipes, but not of $(shell) before GNU make 4.4.
ask_host = $(shell KAMAILIO=$(call quote,$(KAMAILIO)) KAMAILIO_SRC=$(call quote,$(KAMAILIO_SRC)) \
	CC=$(call quote,$(CC)) tools/host.sh $(1) 2>/dev/null)

HOST := $(call ask_host,find)
ifneq ($(HOST),)
HOST_VERSION := $(call ask_host,version)
HOST_MODULES := $(call ask_host,modules)
endif

# A program or a tree of the user's own gets a folder of its own, named after the paths: another build of the same version
# may have other structs.
HOST_DIR := $(BUILD)/host-$(or $(HOST_VERSION),none)
HOST_OWN := $(call ask_host,own) $(abspath $(KAMAILIO_SRC))
ifneq ($(strip $(HOST_OWN)),)
HOST_DIR := $(HOST_DIR)-$(firstword $(shell printf '%s' $(call quote,$(strip $(HOST_OWN))) | md5sum))
endif
ifneq ($(KAMAILIO_SRC),)
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
