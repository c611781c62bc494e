# vfiod: GNU Makefile. `make help` lists the targets.
#
# Rooms (daemon/base, daemon/bind, ...) become one archive each, and a test of a
# room links only the rooms below it: a call that goes up does not link.

VARIANT ?= release
CC      ?= cc
prefix  ?= /usr
sysconfdir ?= /etc
bindir     ?= $(prefix)/bin
sbindir    ?= $(prefix)/sbin
libdir     ?= $(prefix)/lib/$(shell $(CC) -print-multiarch 2>/dev/null)
includedir ?= $(prefix)/include
datadir    ?= $(prefix)/share
mandir     ?= $(datadir)/man
systemdlibdir ?= $(prefix)/lib

VERSION := 0.1.0
SOVERSION := 0
BUILD := build/$(VARIANT)

ifeq ($(VARIANT),sanitize)
CC := clang
VARIANT_CFLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
VARIANT_LDFLAGS := -fsanitize=address,undefined
else ifeq ($(VARIANT),clang)
CC := clang
VARIANT_CFLAGS := -O2 -g
else
VARIANT_CFLAGS := -O2 -g -D_FORTIFY_SOURCE=2
endif

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wno-missing-field-initializers
# libev's watcher macros cast between watcher types: no strict aliasing anywhere.
BASE_CFLAGS := -std=gnu11 -fno-strict-aliasing -fvisibility=hidden -fPIC -D_GNU_SOURCE \
	-DVFIOD_VERSION='"$(VERSION)"' -I. -I$(BUILD)/gen -MMD -MP
CFLAGS ?=
LDFLAGS ?=

# pkg-config runs when a recipe needs it, so `make help`, `clean` and the set-up
# work on a machine that does not have it yet.
PKGS_daemon := json-c libudev libsystemd libkmod inih
PKGS_client := json-c
PKGS_test   := $(PKGS_daemon) cmocka
PKGS_mock   := $(PKGS_test) umockdev-1.0
pkg_cflags = $(shell pkg-config --cflags $(1))
pkg_libs   = $(shell pkg-config --libs $(1))

# --- rooms, lowest first ------------------------------------------------------
BELOW_base      := base
BELOW_proto     := proto
BELOW_inventory := inventory $(BELOW_base)
BELOW_bind      := bind $(BELOW_inventory)
BELOW_lease     := lease $(BELOW_inventory)
BELOW_broker    := broker bind lease $(BELOW_inventory)
BELOW_service   := service $(BELOW_broker) proto
BELOW_client    := client proto
DAEMON_ROOMS := base inventory bind lease broker service

src_of  = $(sort $(wildcard $(if $(filter proto client,$(1)),$(1),daemon/$(1))/*.c))
objs_of = $(patsubst %.c,$(BUILD)/%.o,$(call src_of,$(1)))
lib_of  = $(BUILD)/room-$(1).a
libs_below = $(foreach r,$(BELOW_$(1)),$(call lib_of,$(r)))

INTERFACES := $(wildcard proto/*.varlink)
GEN_IFACES := $(BUILD)/gen/interfaces.inc

PROGRAMS := $(BUILD)/vfiod $(BUILD)/vfioctl
LIBVFIOD := $(BUILD)/libvfiod.so.$(SOVERSION)

all: $(PROGRAMS) $(LIBVFIOD) $(BUILD)/libvfiod.a $(BUILD)/org.vfiod.7

$(BUILD)/%.o: %.c | setup-build
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(WARNINGS) $(VARIANT_CFLAGS) $(CFLAGS) $(call pkg_cflags,$(PKGS_daemon)) -c $< -o $@

$(BUILD)/tests/%.o: tests/%.c | setup-build
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(WARNINGS) $(VARIANT_CFLAGS) $(CFLAGS) $(call pkg_cflags,$(PKGS_mock)) -c $< -o $@

# The interface files are compiled into whoever speaks them.
$(GEN_IFACES): $(INTERFACES) proto/embed.awk
	@mkdir -p $(@D)
	LC_ALL=C awk -f proto/embed.awk $(INTERFACES) >$@.tmp && mv $@.tmp $@
$(BUILD)/proto/interfaces.o: $(GEN_IFACES)

define room_rules
$(call lib_of,$(1)): $(call objs_of,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(AR) rcs $$@ $$^
endef
$(foreach r,$(DAEMON_ROOMS) proto client,$(eval $(call room_rules,$(r))))

$(BUILD)/vfiod: $(BUILD)/daemon/main.o $(call libs_below,service)
	$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_daemon)) -lev

VFIOCTL_SRC := $(sort $(wildcard client/vfioctl/*.c))
$(BUILD)/vfioctl: $(VFIOCTL_SRC:%.c=$(BUILD)/%.o) $(call libs_below,client)
	$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_client))

$(LIBVFIOD): $(call libs_below,client) client/libvfiod.map
	$(CC) -shared $(VARIANT_LDFLAGS) $(LDFLAGS) -Wl,-soname,$(notdir $@) -Wl,--version-script=client/libvfiod.map \
		-o $@ -Wl,--whole-archive $(filter %.a,$^) -Wl,--no-whole-archive $(call pkg_libs,$(PKGS_client))
	ln -sf $(notdir $@) $(BUILD)/libvfiod.so

$(BUILD)/libvfiod.a: $(call objs_of,client) $(call objs_of,proto)
	@rm -f $@
	$(AR) rcs $@ $^

# org.vfiod(7) is made from the interface files by the parser that serves them.
$(BUILD)/varlink2mdoc: $(BUILD)/proto/tools/varlink2mdoc.o $(call libs_below,proto)
	$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKGS_client))
$(BUILD)/org.vfiod.7: $(BUILD)/varlink2mdoc $(INTERFACES)
	$(BUILD)/varlink2mdoc $(INTERFACES) >$@.tmp && mv $@.tmp $@

# --- tests --------------------------------------------------------------------
# tests/unit/ROOM/test-x.c links ROOM and what is below it; tests/mock/test-x.c
# links the daemon's rooms and runs under umockdev-wrapper.
UNIT_SRC := $(sort $(wildcard tests/unit/*/test-*.c))
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
MOCK_SRC := $(sort $(wildcard tests/mock/test-*.c))
MOCK_BIN := $(MOCK_SRC:%.c=$(BUILD)/%)
# What the mock tests share: every other file there.
MOCK_HELPERS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(MOCK_SRC),$(sort $(wildcard tests/mock/*.c))))

define unit_rules
$(BUILD)/tests/unit/$(1)/test-%: $(BUILD)/tests/unit/$(1)/test-%.o $(call libs_below,$(1))
	$$(CC) $$(VARIANT_LDFLAGS) $$(LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(call pkg_libs,$$(PKGS_test)) -lev
endef
$(foreach r,$(DAEMON_ROOMS) proto client,$(eval $(call unit_rules,$(r))))

$(BUILD)/tests/mock/test-%: $(BUILD)/tests/mock/test-%.o $(MOCK_HELPERS) $(call libs_below,inventory)
	$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_mock)) -lev

.SECONDARY:
include tests/tests.mk

# --- dependency files -----------------------------------------------------------
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
