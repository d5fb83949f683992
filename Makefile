# One non-recursive Makefile. Everything that is built goes below $(BUILD), one directory for each flavour:
#   release  what is installed         asan  tests (ASan, UBSan)       tsan  what has threads       fuzz  libFuzzer (clang)
# Targets: all demo test lint tsan fuzz bench fresh install uninstall dist deb sbom image deps docs clean. `make help` says more.

BUILD      ?= build
CC         ?= cc
FUZZ_CC    ?= clang
PKG_CONFIG ?= pkg-config
PYTHON     ?= /usr/bin/python3
PREFIX     ?= /usr
DESTDIR    ?=
# What install does with debugging information; a package keeps it for itself.
STRIP      ?= -s
FUZZ_SECONDS ?= 10
# V=1 shows whole command lines.
Q := $(if $(V),,@)

# For what runs before anything is built: tests/tools/deps and tests/tools/fresh.
export BUILD KAFKA MQTT TESTS FRESH

VERSION := $(shell sed -n 's/.*WSHEALTHD_VERSION "\(.*\)".*/\1/p' agent/base/version.h)

GUIDES  := $(sort $(wildcard docs/*.md))
MONITORING := monitoring/alerts.yaml monitoring/rules.yaml monitoring/dashboard.json
UNITS   := wshealthd.service wshealthd@.service wshealthd.socket wshealthd-agent-check.socket wshealthd-grpc.socket
DROPINS := $(wildcard systemd/*.service.d/*.conf)
EXAMPLES := $(PREFIX)/share/doc/wshealthd/examples
COMPLETIONS := share/bash-completion/completions/wshealthd share/zsh/vendor-completions/_wshealthd share/fish/vendor_completions.d/wshealthd.fish

.DEFAULT_GOAL := all
PARALLEL = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
.DELETE_ON_ERROR:
.SUFFIXES:

# --- set-up ---------------------------------------------------------------------------------------------------------
# Targets that a newcomer types first install what is missing, then run make again so that pkg-config sees it.
DEPS_STAMP := $(shell BUILD='$(BUILD)' KAFKA='$(KAFKA)' MQTT='$(MQTT)' tests/tools/deps --check build >/dev/null 2>&1 && echo yes)

ifeq ($(DEPS_STAMP),yes)

# --- libraries ------------------------------------------------------------------------------------------------------
PKGS     := libuv libssl libcrypto zlib yaml-0.1 jansson libpcre2-8 hiredis librabbitmq
CPPFLAGS += -I. -D_POSIX_C_SOURCE=200809L -D_GNU_SOURCE $(shell $(PKG_CONFIG) --cflags $(PKGS))
LIBS     := $(shell $(PKG_CONFIG) --libs $(PKGS))
# libnats is opened when a nats broker is: the name it was built for.
NATS_SONAME := $(shell readelf -d $$($(PKG_CONFIG) --variable=libdir libnats)/libnats.so | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
CPPFLAGS += -DNATS_SONAME=$(NATS_SONAME) $(shell $(PKG_CONFIG) --cflags libnats)
# libnghttp2 is opened when a connection over HTTP/2 is.
CPPFLAGS += $(shell $(PKG_CONFIG) --cflags libnghttp2)
# librdkafka is opened when a kafka broker is, so that nobody else pays its megabyte. Where its header is missing, or with KAFKA=0, the type is left out.
WITH_KAFKA := $(or $(KAFKA),$(shell $(PKG_CONFIG) --exists rdkafka && echo 1 || echo 0))
ifeq ($(WITH_KAFKA),1)
  CPPFLAGS += -DWSHEALTHD_KAFKA $(shell $(PKG_CONFIG) --cflags rdkafka)
endif
# The same for libmosquitto and mqtt brokers (MQTT=0).
WITH_MQTT := $(or $(MQTT),$(shell $(PKG_CONFIG) --exists libmosquitto && echo 1 || echo 0))
ifeq ($(WITH_MQTT),1)
  CPPFLAGS += -DWSHEALTHD_MQTT $(shell $(PKG_CONFIG) --cflags libmosquitto)
endif
# llhttp: a library of its own on Debian 13, C sources of node-llhttp on Debian 12 (tests/tools/deps unpacks them below $(BUILD)).
LLHTTP_SRC ?= $(firstword $(patsubst %/llhttp.c,%,$(wildcard /usr/share/llhttp/llhttp.c $(BUILD)/llhttp/usr/share/llhttp/llhttp.c)))
ifeq ($(shell $(PKG_CONFIG) --exists libllhttp && echo y),y)
  CPPFLAGS += $(shell $(PKG_CONFIG) --cflags libllhttp)
  LIBS     += $(shell $(PKG_CONFIG) --libs libllhttp)
else
  LLHTTP_INC  ?= $(firstword $(patsubst %/llhttp.h,%,$(wildcard $(LLHTTP_SRC)/llhttp.h $(LLHTTP_SRC:%/share/llhttp=%/share/include/llhttp)/llhttp.h)))
  CPPFLAGS    += -isystem $(LLHTTP_INC)
  LLHTTP_UNITS := llhttp api http
endif

WARN   := -Wall -Wextra -Wconversion -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror
CSTD   := -std=c11
COMMON := $(CSTD) $(WARN) -fno-strict-aliasing -fno-common
CFLAGS_release = $(OPTIMIZE) -g -fPIE -fno-asynchronous-unwind-tables -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -ffunction-sections
OPTIMIZE := -O2
LDFLAGS_release := -pie -Wl,-z,pack-relative-relocs,-z,relro,-z,now,-z,noexecstack,--gc-sections,--as-needed
CFLAGS_asan  := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS_asan := -fsanitize=address,undefined
CFLAGS_tsan  := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS_tsan := -fsanitize=thread
CFLAGS_fuzz  := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
LDFLAGS_fuzz := -fsanitize=address,undefined
CC_release := $(CC)
CC_asan    := $(CC)
CC_tsan    := $(CC)
CC_fuzz    := $(FUZZ_CC)

# --- sources: a layer is a directory, an object library, and a LINK_ line below ------------------------------------------
LAYERS     := base proto net conf client core report fleet probes brokers notify http run demo cli
$(foreach layer,$(filter-out probes brokers,$(LAYERS)),$(eval SRC_$(layer) := $(sort $(wildcard agent/$(layer)/*.c))))
SRC_probes := $(sort $(wildcard probes/*.c probes/dialects/*.c))
SRC_brokers := $(sort $(filter-out $(if $(filter 1,$(WITH_KAFKA)),,brokers/kafka/%) $(if $(filter 1,$(WITH_MQTT)),,brokers/mqtt/%),$(wildcard brokers/*.c brokers/*/*.c)))
SRC_main   := agent/main.c
ALL_SRC    := $(foreach layer,$(LAYERS),$(SRC_$(layer))) $(SRC_main)
TEST_SRC   := $(sort $(shell find tests/unit tests/fuzz tests/bench tests/soak -name '*.c' 2>/dev/null))
# What a layer may include and link: itself and those below, the highest first. tests/lint/layers reads this table.
LINK_base    := base
LINK_proto   := proto $(LINK_base)
LINK_net     := net $(LINK_proto)
LINK_conf    := conf $(LINK_proto)
LINK_client  := client net $(LINK_conf)
LINK_core    := core $(LINK_client)
LINK_report  := report $(LINK_core)
LINK_fleet   := fleet $(LINK_report)
LINK_probes  := probes $(LINK_core)
LINK_brokers := brokers $(LINK_core)
LINK_http    := http $(LINK_report)
LINK_notify  := notify $(LINK_report)
LINK_run     := run http fleet probes brokers $(LINK_notify)
LINK_demo    := demo $(LINK_run)
LINK_cli     := cli $(LINK_demo)
LINK_main    := $(LINK_cli)

# What the compiler is told. It changes when a library comes or goes (Kafka's), and everything is compiled again then.
FLAGS_STAMP := $(BUILD)/flags
$(shell mkdir -p $(BUILD) && printf '%s\n' '$(CC) $(CPPFLAGS) $(COMMON) $(CFLAGS)' | cmp -s - $(FLAGS_STAMP) || printf '%s\n' '$(CC) $(CPPFLAGS) $(COMMON) $(CFLAGS)' >$(FLAGS_STAMP))

# $(1) flavour
define flavour
$(BUILD)/$(1)/%.o: %.c $(FLAGS_STAMP)
	@mkdir -p $$(@D)
	@echo "  CC      $$@"
	$$(Q)$$(CC_$(1)) $$(CPPFLAGS) $$(COMMON) $$(CFLAGS) $$(CFLAGS_$(1)) -MMD -MP -c -o $$@ $$<
$(BUILD)/$(1)/llhttp/%.o: $(LLHTTP_SRC)/%.c
	@mkdir -p $$(@D)
	@echo "  CC      $$@"
	$$(Q)$$(CC_$(1)) -O2 -g -fPIC -w -isystem $$(LLHTTP_INC) -c -o $$@ $$<
$(foreach layer,$(LAYERS),$(BUILD)/$(1)/lib$(layer).a): $(BUILD)/$(1)/lib%.a:
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^
$(foreach layer,$(filter-out proto,$(LAYERS)),$(eval $(BUILD)/$(1)/lib$(layer).a: $(patsubst %.c,$(BUILD)/$(1)/%.o,$(SRC_$(layer)))))
$(eval $(BUILD)/$(1)/libproto.a: $(patsubst %.c,$(BUILD)/$(1)/%.o,$(SRC_proto)) $(patsubst %,$(BUILD)/$(1)/llhttp/%.o,$(LLHTTP_UNITS)))
$(BUILD)/$(1)/wshealthd: $(patsubst %.c,$(BUILD)/$(1)/%.o,$(SRC_main)) $(foreach layer,$(LINK_main),$(BUILD)/$(1)/lib$(layer).a)
	@echo "  LINK    $$@"
	$$(Q)$$(CC_$(1)) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1)) $$(LDFLAGS) -o $$@ $$^ $$(LIBS) -lpthread
endef
$(foreach f,release asan tsan fuzz,$(eval $(call flavour,$(f))))
# What is not run for each byte of a frame is small rather than fast: the package has a ceiling (tests/e2e/test_packaging.py).
FAST := $(addprefix agent/proto/,ws.c ws_write.c utf8.c deflate.c digest.c base64.c)
$(patsubst %.c,$(BUILD)/release/%.o,$(filter-out $(FAST),$(ALL_SRC))): OPTIMIZE := -Os

# Unit tests: tests/unit/LAYER/test_X.c links that layer and those below.
UNIT_SRC := $(sort $(wildcard tests/unit/*/test_*.c))
layer_of = $(word 3,$(subst /, ,$(1)))
# $(1) flavour, $(2) source
define unit
$(BUILD)/$(1)/$(2:.c=): $(BUILD)/$(1)/$(2:.c=.o) $(foreach layer,$(LINK_$(call layer_of,$(2))),$(BUILD)/$(1)/lib$(layer).a)
	@echo "  LINK    $$@"
	$$(Q)$$(CC_$(1)) $$(CFLAGS_$(1)) $$(LDFLAGS_$(1)) $$(LDFLAGS) -o $$@ $$^ $$(LIBS) -lcmocka -lpthread
endef
$(foreach f,asan tsan release,$(foreach s,$(UNIT_SRC),$(eval $(call unit,$(f),$(s)))))
# The server that the client of HTTP/2 is played against is libnghttp2's.
$(foreach f,asan tsan release,$(BUILD)/$(f)/tests/unit/proto/test_h2 $(BUILD)/$(f)/tests/unit/net/test_stream_h2): LIBS += -lnghttp2
units_of = $(UNIT_SRC:%.c=$(BUILD)/$(1)/%)

# Fuzz targets: tests/fuzz/fuzz_X.c with seeds in tests/fuzz/seeds/X/.
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZERS  := $(FUZZ_SRC:%.c=$(BUILD)/fuzz/%)
$(FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/fuzz/%.o $(foreach layer,fleet probes brokers $(LINK_report),$(BUILD)/fuzz/lib$(layer).a)
	@echo "  LINK    $@"
	$(Q)$(FUZZ_CC) $(CFLAGS_fuzz) -fsanitize=fuzzer,address,undefined $(LDFLAGS) -o $@ $^ $(LIBS) -lpthread

# Reference programs of the benchmarks: tests/bench/*.c, each a program of its own.
BENCH_SRC := $(sort $(wildcard tests/bench/*.c))
BENCHES   := $(BENCH_SRC:%.c=$(BUILD)/release/%)
$(BENCHES): $(BUILD)/release/%: %.c $(wildcard tests/bench/*.h)
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(CPPFLAGS) $(CSTD) -O2 -g -Wl,--no-as-needed -o $@ $< $(LIBS) -lpthread

# What tests/soak compares with another implementation.
$(BUILD)/asan/tests/soak/frames: $(BUILD)/asan/tests/soak/frames.o $(foreach layer,$(LINK_proto),$(BUILD)/asan/lib$(layer).a)
	@echo "  LINK    $@"
	$(Q)$(CC_asan) $(CFLAGS_asan) $(LDFLAGS_asan) $(LDFLAGS) -o $@ $^ $(LIBS) -lpthread
.PHONY: k8s-now helm-now
k8s-now: $(BUILD)/release/wshealthd
	tests/k8s/run $(abspath $(BUILD)) $(K8S) || [ $$? = 125 ]
helm-now: $(BUILD)/asan/wshealthd $(BUILD)/release/wshealthd
	HELM_WRITE=1 WSHEALTHD_BUILD=$(abspath $(BUILD)) $(PYTHON) -B -m pytest -q -p no:cacheprovider tests/e2e/test_helm.py
.PHONY: frames-now
frames-now: $(BUILD)/asan/tests/soak/frames
	$(PYTHON) -B tests/soak/frames.py $(abspath $(BUILD)) $(FRAMES)

# On all cores where no -j was given.
.PHONY: all all-now
all:
	@$(MAKE) --no-print-directory $(PARALLEL) all-now
all-now: $(BUILD)/release/wshealthd

.PHONY: unit-now
unit-now: $(call units_of,asan)
	tests/tools/run-units $(BUILD)/asan/tests/unit

.PHONY: e2e-now
e2e-now: $(BUILD)/asan/wshealthd $(BUILD)/release/wshealthd
	WSHEALTHD_BUILD=$(abspath $(BUILD)) $(PYTHON) -B -m pytest -v -p no:cacheprovider tests/e2e $(PYTEST_ARGS)

# What test, lint, tsan, fuzz and bench do once everything is installed.
.PHONY: check lint-now tsan-now fuzz-now bench-now
check: $(call units_of,asan) $(BUILD)/asan/wshealthd $(BUILD)/release/wshealthd
	tests/tools/run-tests $(abspath $(BUILD))
lint-now: $(foreach layer,$(LAYERS),$(BUILD)/release/lib$(layer).a)
	LINT_ARCHIVES='$(BUILD)/release' LINT_FLAGS='$(CPPFLAGS) $(COMMON)' tests/lint/run $(LINT_ONLY)
# What has threads: the resolver, the mailbox and its users. Fixed addresses, as the sanitizer's shadow does not fit under every layout.
tsan-now: $(filter $(BUILD)/tsan/tests/unit/net/% $(BUILD)/tsan/tests/unit/brokers/test_nats $(BUILD)/tsan/tests/unit/brokers/test_kafka $(BUILD)/tsan/tests/unit/brokers/test_fault,$(call units_of,tsan))
	TSAN_OPTIONS=halt_on_error=1:exitcode=66 setarch -R tests/tools/run-units $(BUILD)/tsan/tests/unit
fuzz-now: $(FUZZERS)
	tests/tools/run-fuzz $(abspath $(BUILD)) $(FUZZ_SECONDS)
bench-now: $(BUILD)/release/wshealthd $(BENCHES)
	$(PYTHON) -B tests/bench/run.py $(abspath $(BUILD)) $(BENCH)

# What docs and install do once everything is installed.
MANUALS := $(BUILD)/docs/wshealthd.8 $(BUILD)/docs/wshealthd.yaml.5
$(MANUALS): $(BUILD)/docs/%: docs/%.in docs/fill $(BUILD)/release/wshealthd
	@mkdir -p $(@D)
	docs/fill $(BUILD)/release/wshealthd $< >$@
.PHONY: docs-now install-now
docs-now: $(MANUALS)
	docs/house >docs/house.svg
install-now: $(BUILD)/release/wshealthd $(MANUALS)
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin share/man/man5 share/man/man8 share/doc/wshealthd/docs share/wshealthd/monitoring lib/systemd/system $(dir $(COMPLETIONS)))
	install $(STRIP) -m 755 $(BUILD)/release/wshealthd $(DESTDIR)$(PREFIX)/bin/wshealthd
	install -m 644 $(BUILD)/docs/wshealthd.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 $(BUILD)/docs/wshealthd.yaml.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 README.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/wshealthd/
	install -m 644 $(GUIDES) $(DESTDIR)$(PREFIX)/share/doc/wshealthd/docs/
	install -m 644 $(MONITORING) $(DESTDIR)$(PREFIX)/share/wshealthd/monitoring/
	PATH="$(abspath $(BUILD)/release):$$PATH" wshealthd config init >$(DESTDIR)$(PREFIX)/share/doc/wshealthd/wshealthd.yaml
	for file in $(COMPLETIONS); do shell=$${file#share/}; \
	    $(BUILD)/release/wshealthd completion "$${shell%%[-/]*}" >$(DESTDIR)$(PREFIX)/$$file || exit; chmod 644 $(DESTDIR)$(PREFIX)/$$file; done
	for unit in $(UNITS); do \
	    systemd/for-release $(PREFIX) systemd/$$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit; \
	    chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit; done
	for file in $(DROPINS); do install -d $(DESTDIR)$(EXAMPLES)/$${file%/*}; \
	    systemd/for-release $(PREFIX) $$file >$(DESTDIR)$(EXAMPLES)/$$file || exit; chmod 644 $(DESTDIR)$(EXAMPLES)/$$file; done

.PHONY: unit-release
unit-release: $(call units_of,release)
	tests/tools/run-units $(BUILD)/release/tests/unit

-include $(patsubst %.c,$(BUILD)/release/%.d,$(ALL_SRC) $(TEST_SRC)) $(patsubst %.c,$(BUILD)/asan/%.d,$(ALL_SRC) $(TEST_SRC))
-include $(patsubst %.c,$(BUILD)/tsan/%.d,$(ALL_SRC) $(TEST_SRC)) $(patsubst %.c,$(BUILD)/fuzz/%.d,$(ALL_SRC) $(TEST_SRC))

else # the build's own packages are missing
all:
	tests/tools/deps build
	$(MAKE) --no-print-directory $@
.PHONY: all
endif

# --- tests: each installs what is missing, then runs make again, on all cores where no -j was given ---------------------
.PHONY: unit e2e test lint tsan fuzz bench
unit:
	tests/tools/deps build unit
	$(MAKE) --no-print-directory $(PARALLEL) unit-now
e2e:
	tests/tools/deps build unit test
	tests/tools/npm $(BUILD)
	$(MAKE) --no-print-directory $(PARALLEL) e2e-now
test:
	tests/tools/deps build unit test
	tests/tools/npm $(BUILD)
	$(MAKE) --no-print-directory $(PARALLEL) check
lint:
	tests/tools/deps build unit test lint
	$(MAKE) --no-print-directory $(PARALLEL) lint-now
tsan:
	tests/tools/deps build unit test
	$(MAKE) --no-print-directory $(PARALLEL) tsan-now
fuzz:
	tests/tools/deps build fuzz
	$(MAKE) --no-print-directory $(PARALLEL) fuzz-now
bench:
	tests/tools/deps build unit test bench
	$(MAKE) --no-print-directory $(PARALLEL) bench-now
# The chat of helm/chat on a real Kubernetes node, in namespaces of its own (as root). Its components are built once, where Go is.
.PHONY: k8s helm
k8s:
	tests/tools/deps build unit test k8s
	tests/tools/npm $(BUILD)
	! command -v go >/dev/null || tests/k8s/node/build
	$(MAKE) --no-print-directory $(PARALLEL) k8s-now
# Writes helm/rendered anew, and tests the charts. What is missing (helm) is skipped by name.
helm:
	tests/tools/deps build unit test
	$(MAKE) --no-print-directory $(PARALLEL) helm-now
# All that README promises, on a bare Debian of its own: RELEASE=bookworm or trixie; FRESH='make all && make unit' is less.
.PHONY: fresh
fresh:
	@tests/tools/fresh $(or $(RELEASE),trixie)

# --- for users: likewise ------------------------------------------------------------------------------------------------
.PHONY: demo docs install uninstall dist deb sbom image help
demo:
	tests/tools/deps build
	$(MAKE) --no-print-directory $(PARALLEL) all
	@$(BUILD)/release/wshealthd demo $(DEMO)
docs:
	tests/tools/deps build
	$(MAKE) --no-print-directory $(PARALLEL) docs-now
install:
	tests/tools/deps build
	$(MAKE) --no-print-directory $(PARALLEL) install-now
# A release and its packages: CONTRIBUTING.md says more.
dist:
	packaging/dist $(BUILD) $(VERSION)
deb:
	tests/tools/deps build deb
	packaging/deb $(BUILD) $(VERSION)
sbom:
	tests/tools/deps build
	$(MAKE) --no-print-directory $(PARALLEL) all
	$(PYTHON) -B packaging/sbom $(BUILD)/release/wshealthd >$(BUILD)/wshealthd-$(VERSION).spdx.json
image:
	tests/tools/deps image
	packaging/image $(BUILD) $(VERSION)
# What install has put there; configuration in /etc/wshealthd stays.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/wshealthd $(DESTDIR)$(PREFIX)/share/man/man8/wshealthd.8 $(DESTDIR)$(PREFIX)/share/man/man5/wshealthd.yaml.5 \
	    $(addprefix $(DESTDIR)$(PREFIX)/share/doc/wshealthd/,README.md LICENSE wshealthd.yaml $(GUIDES)) $(addprefix $(DESTDIR)$(PREFIX)/share/wshealthd/,$(MONITORING)) \
	    $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(UNITS)) $(addprefix $(DESTDIR)$(EXAMPLES)/,$(DROPINS)) $(addprefix $(DESTDIR)$(PREFIX)/,$(COMPLETIONS))
	-rmdir $(addprefix $(DESTDIR)$(EXAMPLES)/,$(sort $(dir $(DROPINS))) systemd) $(DESTDIR)$(EXAMPLES)
	-rmdir $(DESTDIR)$(PREFIX)/share/doc/wshealthd/docs $(DESTDIR)$(PREFIX)/share/doc/wshealthd $(DESTDIR)$(PREFIX)/share/wshealthd/monitoring $(DESTDIR)$(PREFIX)/share/wshealthd
help:
	@echo 'make          the program: $(BUILD)/release/wshealthd'
	@echo 'make demo     a WebSocket server to break, and the agent beside it (DEMO="--fault silent-drop")'
	@echo 'make test     unit and end-to-end tests under AddressSanitizer and UBSan'
	@echo 'make lint     layers, sizes, layout, both compilers, static analysis'
	@echo 'make tsan     what has threads, under ThreadSanitizer'
	@echo 'make fuzz     every fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS)'
	@echo 'make bench    the figures, beside their references'
	@echo 'make helm     renders helm/rendered anew and tests the charts'
	@echo 'make k8s      the charts on a real Kubernetes node, which is built once where Go is (10 minutes, 4 GB; K8S_DIR)'
	@echo 'make docs     the manual pages, in $(BUILD)/docs, and the picture of the layers'
	@echo 'make fresh    all of this on a bare Debian in a directory of its own, as root (RELEASE=bookworm or trixie)'
	@echo 'make install  program, manual, completion, units, alerts and dashboard (DESTDIR=, PREFIX=$(PREFIX)); make uninstall removes them'
	@echo 'make deb      the Debian package; make image: the container image; make dist: the source archive; make sbom: what it is made of, as SPDX'
	@echo 'make deps     installs what build, tests, lint, fuzz and bench need (KAFKA=0, MQTT=0: without librdkafka, libmosquitto; TESTS=lean: tests without what is large)'
	@echo 'make clean    removes $(BUILD)'
	@echo 'Each installs the Debian packages that it lacks, with sudo where you are not root. BUILD=DIR builds elsewhere, V=1 shows commands.'

.PHONY: deps
deps:
	tests/tools/deps build unit test lint fuzz bench

.PHONY: clean
clean:
	rm -rf $(BUILD)
