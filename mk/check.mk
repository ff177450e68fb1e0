# The tests. tools/check.py runs the stages and counts; its last line is the sum.
#
# A unit test is one file, test/unit/test_NAME.c, with cmocka. A comment in it names what is linked with it,
# sources of this project and flags for the linker:
#
#     /* links: tls_mem.c test/unit/fake_host.c -Wl,--wrap=malloc */
#
# "BENCH" there stands for the module below its face, on a host that is not there, with each shared block one of its;
# "HEAPED" for the same with the shared allocator between the two.

.PHONY: check check-quick check-style check-unit check-asan check-tsan check-fuzz check-server
check: deps-check
	@$(PYTHON) tools/check.py style unit asan tsan fuzz server $(HOSTS:%=debian-%)

# The quick answer: the sources, the parts, and what a host does first of all.
check-quick: deps-quick
	@$(PYTHON) tools/check.py style unit core

check-style check-unit check-asan check-tsan check-fuzz check-server: check-%: deps-%
	@$(PYTHON) tools/check.py $*

# The same in other Debian systems below $(BUILD), as root: HOSTS says which (13 and testing), STAGES which of the tests.
# "make check HOSTS=13" runs only the core there, after all tests here, and where such a system can't be made it skips that.
.PHONY: check-hosts
check-hosts:
	@tools/deps.sh systems
	@STAGES="$(STAGES)" tools/check-hosts.sh $(or $(HOSTS),13 testing)

# The Debian package in other systems, as root: DEB_SYSTEMS says which.
DEB_SYSTEMS := 12 13

.PHONY: check-deb
check-deb:
	@tools/deps.sh systems
	@tools/check-deb.sh $(DEB_SYSTEMS)

# Lays out the C files as .clang-format says.
.PHONY: format
format:
	clang-format -i $(SOURCES) $(HEADERS) $(wildcard test/*/*.c test/*/*.h bench/*.c bench/*.h)

TSAN_TESTS := test_heap # those with threads of their own; OpenSSL is not built for the thread sanitizer
UNIT_TESTS := $(patsubst test/unit/%.c,%,$(wildcard test/unit/test_*.c))
UNIT_CFLAGS = $(MODULE_CFLAGS) -D_GNU_SOURCE -Wno-unused-parameter -Wno-error=deprecated-declarations -DTLS_FAULTS -DTLS_DEBUG -O1 -fno-omit-frame-pointer -Itest/unit
UNIT_LIBS := -lcmocka -lssl -lcrypto -lz -lpthread
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all

HEAP := $(wildcard heap/*.c)
BENCH := $(filter-out $(HEAP) tls_mod.c tls_rpc.c tls_select.c host/dry_run.c connection/outgoing.c connection/reuse.c connection/item.c,$(SOURCES)) \
	$(addprefix test/unit/,fake_host.c fake_memory.c fake_heap.c ends.c bench.c)
HEAPED := $(filter-out %fake_heap.c,$(BENCH)) $(HEAP)

# what the comment of the test in the file $(1) names
links = $(subst HEAPED,$(HEAPED),$(subst BENCH,$(BENCH),$(shell sed -nE 's,^.*/\* *(links|sources): *(.*[^ ]) *\*/.*,\2,p' $(1))))

# unit_program FOLDER,TEST,SOURCES,FLAGS,SANITIZERS
define unit_program
$(1)/$(2): $(patsubst %.c,$(1)/obj/%.o,test/unit/$(2).c $(3))
	$$(call say,LD,$(1:$(BUILD)/%=%)/$(2))
	$$(Q)$$(CC) $(5) -o $$@ $$^ $(4) $(UNIT_LIBS)
endef

define unit_rules
$(1)/obj/%.o: %.c $(BUILD)/obj/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$(1:$(BUILD)/%=%)/$$<)
	$$(Q)$$(CC) $$(UNIT_CFLAGS) $(2) @$(HOST_CFLAGS) -MMD -MP -c -o $$@ $$<
-include $(shell find $(1)/obj -name '*.d' 2>/dev/null)
endef

ifneq ($(filter unit-programs asan-programs tsan-programs $(BUILD)/unit/% $(BUILD)/asan/% $(BUILD)/tsan/%,$(MAKECMDGOALS)),)
$(eval $(call unit_rules,$(BUILD)/unit,))
$(eval $(call unit_rules,$(BUILD)/asan,$(SANITIZERS)))
$(eval $(call unit_rules,$(BUILD)/tsan,-fsanitize=thread))
$(foreach t,$(UNIT_TESTS) diet,$(eval LINKS := $(call links,test/unit/$(t).c)) \
	$(eval $(call unit_program,$(BUILD)/unit,$(t),$(filter %.c,$(LINKS)),$(filter-out %.c,$(LINKS)),)) \
	$(eval $(call unit_program,$(BUILD)/asan,$(t),$(filter %.c,$(LINKS)),$(filter-out %.c,$(LINKS)),$(SANITIZERS))) \
	$(eval $(call unit_program,$(BUILD)/tsan,$(t),$(filter %.c,$(LINKS)),$(filter-out %.c,$(LINKS)),-fsanitize=thread)))
endif

# A fuzzer is one file too, test/fuzz/fuzz_NAME.c, with inputs in test/fuzz/corpus/NAME and words in
# test/fuzz/NAME.dict. The check runs those inputs, and new ones for a moment; make fuzz does so for FUZZ_SECONDS each. FUZZ says which
# (make fuzz FUZZ="server client" FUZZ_SECONDS=600), all of them when it is not given. What was found in passing is kept below $(BUILD)
# for the next time; what ends a fuzzer stands in $(BUILD)/fuzz/fuzz_NAME-crash-..., and the program run with it shows it again.
FUZZ := $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))
FUZZERS := $(FUZZ:%=fuzz_%)
FUZZ_SECONDS := 60

# -Wno-shadow: clang takes a parameter for a shadow of what the host declares, where gcc, which compiles the same sources, does not.
FUZZ_CFLAGS = -std=gnu11 -g -O1 $(WARNINGS) -Wno-shadow -Wno-unused-parameter -D_GNU_SOURCE -I. -Itest/unit
FUZZ_SANITIZERS := address,undefined -fno-sanitize-recover=all

# fuzz_program FUZZER,SOURCES,FLAGS
define fuzz_program
$(BUILD)/fuzz/$(1): $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,test/fuzz/$(1).c $(2))
	$$(call say,LD,fuzz/$(1))
	$$(Q)clang -fsanitize=fuzzer,$(FUZZ_SANITIZERS) -o $$@ $$^ $(3) -lssl -lcrypto -lz -lpthread
endef

ifneq ($(filter fuzz fuzz-programs $(BUILD)/fuzz/%,$(MAKECMDGOALS)),)
$(BUILD)/fuzz/obj/%.o: %.c $(BUILD)/obj/flags
	@mkdir -p $(@D)
	$(call say,CC,fuzz/$<)
	$(Q)clang $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,$(FUZZ_SANITIZERS) @$(HOST_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)
$(foreach f,$(FUZZERS),$(eval LINKS := $(call links,test/fuzz/$(f).c)) \
	$(eval $(call fuzz_program,$(f),$(filter %.c,$(LINKS)),$(filter-out %.c,$(LINKS)))))
endif

.PHONY: fuzz
fuzz: $(FUZZERS:%=$(BUILD)/fuzz/%)
	$(foreach f,$(FUZZERS),mkdir -p $(BUILD)/fuzz/found/$(f) && $(BUILD)/fuzz/$(f) -max_total_time=$(FUZZ_SECONDS) -timeout=60 \
		-artifact_prefix=$(BUILD)/fuzz/$(f)- $(addprefix -dict=,$(wildcard test/fuzz/$(f:fuzz_%=%).dict)) \
		$(BUILD)/fuzz/found/$(f) test/fuzz/corpus/$(f:fuzz_%=%) &&) true

# What an idle connection keeps in shared memory, block by block (doc/design.md).
.PHONY: diet
diet: deps-unit
	@$(MAKE) -s $(BUILD)/unit/diet
	@$(BUILD)/unit/diet

.SECONDARY:
.PHONY: unit-programs asan-programs tsan-programs fuzz-programs
fuzz-programs: $(FUZZERS:%=$(BUILD)/fuzz/%)
unit-programs: $(UNIT_TESTS:%=$(BUILD)/unit/%)
asan-programs: $(UNIT_TESTS:%=$(BUILD)/asan/%)
tsan-programs: $(TSAN_TESTS:%=$(BUILD)/tsan/%)

# Everything at once for as long as asked; report and picture in build/soak.
SOAK_SECONDS := 3600
.PHONY: soak
soak: deps-check
	@$(MAKE) all bench-programs
	@nice -n 5 $(PYTHON) tools/soak.py --seconds $(SOAK_SECONDS) --folder $(BUILD)/soak

# The module without host and socket, compiled as the module is: the benchmark compares it with the floor.
$(BUILD)/turns: test/unit/turns.c $(HEAPED) $(HEADERS) $(wildcard test/unit/*.h) $(BUILD)/obj/flags
	$(call say,CC,$(@:$(BUILD)/%=%))
	$(Q)$(CC) $(MODULE_CFLAGS) -D_GNU_SOURCE -Wno-unused-parameter -Wno-format-truncation -Itest/unit @$(HOST_CFLAGS) -o $@ $(filter %.c,$^) $(MODULE_LIBS)

# The benchmark: numbers, tables and pictures in build/bench. QUICK=1 measures the main rows in a few minutes, PARTS those
# parts alone. make bench-doc puts what was measured into doc/performance.md.
.PHONY: bench bench-doc
bench:
	@tools/deps.sh bench
	@$(MAKE) all bench-programs $(BUILD)/turns
	@$(PYTHON) bench/bench.py $(if $(QUICK),--quick) --out $(BUILD)/bench $(PARTS)
	@$(PYTHON) bench/report.py --numbers $(BUILD)/bench/numbers.json --pictures $(BUILD)/bench

bench-doc:
	@$(PYTHON) bench/report.py --numbers $(BUILD)/bench/numbers.json --doc doc >/dev/null

# The programs for the tests and the benchmark: the load generator and those that it compares with.
.PHONY: bench-programs
bench-programs: $(patsubst bench/%.c,$(BUILD)/%,$(wildcard bench/*.c))

$(BUILD)/%: bench/%.c $(wildcard bench/*.h) $(BUILD)/obj/flags
	$(call say,CC,$(@:$(BUILD)/%=%))
	$(Q)$(CC) -std=gnu11 $(CFLAGS) $(WARNINGS) -I. -o $@ $< -lssl -lcrypto -lpthread -lm
