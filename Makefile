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
libexecdir ?= $(prefix)/libexec
systemdlibdir ?= $(prefix)/lib

VERSION := 0.1.0
SOVERSION := 0
BUILD := build/$(VARIANT)

# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-4s %s\n' $(1) $@)

ifeq ($(VARIANT),sanitize)
CC := clang
VARIANT_CFLAGS := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
VARIANT_LDFLAGS := -fsanitize=address,undefined
else ifeq ($(VARIANT),fuzz)
CC := clang
VARIANT_CFLAGS := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
VARIANT_LDFLAGS := -fsanitize=address,undefined
else ifeq ($(VARIANT),clang)
CC := clang
VARIANT_CFLAGS := -O2 -g
else
# A distribution's flags may have a level of their own.
VARIANT_CFLAGS := -O2 -g $(if $(findstring _FORTIFY_SOURCE,$(CFLAGS) $(CPPFLAGS)),,-D_FORTIFY_SOURCE=2)
endif

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wno-missing-field-initializers
# libev's watcher macros cast between watcher types: no strict aliasing anywhere.
BASE_CFLAGS := -std=gnu11 -fno-strict-aliasing -fvisibility=hidden -fPIC -D_GNU_SOURCE \
	-DVFIOD_VERSION='"$(VERSION)"' -DVFIOD_SYSCONFDIR='"$(sysconfdir)"' \
	-DVFIOD_LIBEXECDIR='"$(libexecdir)"' -DVFIOD_PKGLIBDIR='"$(libdir)/vfiod"' -I. -I$(BUILD)/gen -MMD -MP
CFLAGS ?=
LDFLAGS ?=

# pkg-config runs when a recipe needs it, so `make help`, `clean` and the set-up
# work on a machine that does not have it yet.
PKGS_daemon := json-c libudev libsystemd libkmod inih
PKGS_client := json-c
PKGS_vfioctl := json-c libseccomp
PKGS_keeper := libseccomp
PKGS_privileged := libsystemd
PKGS_test   := $(PKGS_daemon) $(PKGS_keeper) cmocka
PKGS_mock   := $(PKGS_test) umockdev-1.0
pkg_cflags = $(shell pkg-config --cflags $(1))
pkg_libs   = $(shell pkg-config --libs $(1))

# --- rooms, lowest first ------------------------------------------------------
BELOW_base      := base
BELOW_proto     := proto
BELOW_privilege := privilege $(BELOW_base)
BELOW_inventory := inventory $(BELOW_privilege)
BELOW_bind      := bind $(BELOW_inventory)
BELOW_memory    := memory lease $(BELOW_inventory)
BELOW_keeper    := keeper $(BELOW_base)
BELOW_lease     := lease $(BELOW_inventory)
BELOW_broker    := broker bind lease memory $(BELOW_inventory)
BELOW_service   := service $(BELOW_broker) proto
BELOW_client    := client proto
BELOW_vfioctl   := vfioctl client proto
DAEMON_ROOMS := base privilege inventory bind lease memory broker service

dir_of  = $(if $(filter proto client,$(1)),$(1),$(if $(filter vfioctl,$(1)),client/vfioctl,daemon/$(1)))
src_of  = $(filter-out client/vfioctl/main.c daemon/keeper/main.c daemon/privilege/main.c,$(sort $(wildcard $(call dir_of,$(1))/*.c)))
objs_of = $(patsubst %.c,$(BUILD)/%.o,$(call src_of,$(1)))
lib_of  = $(BUILD)/room-$(1).a
libs_below = $(foreach r,$(BELOW_$(1)),$(call lib_of,$(r)))

INTERFACES := $(wildcard proto/*.varlink)
GEN_IFACES := $(BUILD)/gen/interfaces.inc

PROGRAMS := $(BUILD)/vfiod $(BUILD)/vfiod-privileged $(BUILD)/vfiod-keeper $(BUILD)/vfioctl
LIBVFIOD := $(BUILD)/libvfiod.so.$(SOVERSION)
SHIM := $(BUILD)/shim.so

all: $(PROGRAMS) $(LIBVFIOD) $(SHIM) $(BUILD)/libvfiod.a $(BUILD)/org.vfiod.7

$(BUILD)/%.o: %.c | setup-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(BASE_CFLAGS) $(WARNINGS) $(VARIANT_CFLAGS) $(CFLAGS) $(call pkg_cflags,$(PKGS_daemon) $(PKGS_keeper)) -c $< -o $@

$(BUILD)/tests/%.o: tests/%.c | setup-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(BASE_CFLAGS) $(WARNINGS) $(VARIANT_CFLAGS) $(CFLAGS) $(call pkg_cflags,$(PKGS_mock)) -c $< -o $@

# The interface files are compiled into whoever speaks them.
$(GEN_IFACES): $(INTERFACES) proto/embed.awk
	@mkdir -p $(@D)
	$(Q)LC_ALL=C awk -f proto/embed.awk $(INTERFACES) >$@.tmp && mv $@.tmp $@
$(BUILD)/proto/interfaces.o: $(GEN_IFACES)

define room_rules
$(call lib_of,$(1)): $(call objs_of,$(1))
	@mkdir -p $$(@D)
	$$(Q)$(AR) rcs $$@.$$$$$$$$ $$^ && mv $$@.$$$$$$$$ $$@
endef
$(foreach r,$(DAEMON_ROOMS) keeper proto client vfioctl,$(eval $(call room_rules,$(r))))

$(BUILD)/vfiod: $(BUILD)/daemon/main.o $(call libs_below,service)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_daemon)) -lev

$(BUILD)/vfiod-keeper: $(BUILD)/daemon/keeper/main.o $(call libs_below,keeper)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKGS_keeper))

$(BUILD)/vfiod-privileged: $(BUILD)/daemon/privilege/main.o $(call libs_below,privilege)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_privileged))

$(BUILD)/vfioctl: $(BUILD)/client/vfioctl/main.o $(call libs_below,vfioctl)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_vfioctl))

$(LIBVFIOD): $(call libs_below,client) client/libvfiod.map
	$(call say,LD)
	$(Q)$(CC) -shared $(VARIANT_LDFLAGS) $(LDFLAGS) -Wl,-soname,$(notdir $@) -Wl,--version-script=client/libvfiod.map \
		-o $@ -Wl,--whole-archive $(filter %.a,$^) -Wl,--no-whole-archive $(call pkg_libs,$(PKGS_client))
	@ln -sf $(notdir $@) $(BUILD)/libvfiod.so

# It goes into programs of others: no sanitizer, and nothing that is looked up later.
$(SHIM): client/shim/preload.c client/shim/wire.h | setup-build
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(filter-out -MMD -MP,$(BASE_CFLAGS)) $(WARNINGS) -O2 -g $(CFLAGS) -shared $(LDFLAGS) -Wl,-z,now -Wl,-z,defs \
		-Wl,-soname,$(notdir $@) -o $@ $<

# One object, in which only what the header declares can be seen: its users have names of their own.
$(BUILD)/libvfiod.a: $(call objs_of,client) $(call objs_of,proto)
	@rm -f $@
	$(Q)$(LD) -r -o $(BUILD)/libvfiod.o $^
	$(Q)objcopy --localize-hidden $(BUILD)/libvfiod.o
	$(Q)$(AR) rcs $@ $(BUILD)/libvfiod.o

# org.vfiod(7) is made from the interface files by the parser that serves them.
$(BUILD)/varlink2mdoc: $(BUILD)/proto/tools/varlink2mdoc.o $(call libs_below,proto)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKGS_client))
$(BUILD)/org.vfiod.7: $(BUILD)/varlink2mdoc $(INTERFACES)
	$(Q)$(BUILD)/varlink2mdoc $(INTERFACES) >$@.tmp && mv $@.tmp $@

# --- tests --------------------------------------------------------------------
# tests/unit/ROOM/test-x.c links the other files there, ROOM, and what is below it;
# tests/mock/test-x.c links the daemon's rooms and runs under umockdev-wrapper.
UNIT_SRC := $(sort $(wildcard tests/unit/*/test-*.c))
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
MOCK_SRC := $(sort $(wildcard tests/mock/test-*.c))
MOCK_BIN := $(MOCK_SRC:%.c=$(BUILD)/%)
# What the mock tests share: every other file there.
MOCK_HELPERS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(MOCK_SRC),$(sort $(wildcard tests/mock/*.c))))

# The tests of vfioctl talk to the fake daemon of the client's.
unit_helper_dirs = tests/unit/$(1) $(if $(filter vfioctl,$(1)),tests/unit/client)
unit_helpers = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(UNIT_SRC),$(sort $(wildcard $(addsuffix /*.c,$(call unit_helper_dirs,$(1)))))))
define unit_rules
$(BUILD)/tests/unit/$(1)/test-%: $(BUILD)/tests/unit/$(1)/test-%.o $(call unit_helpers,$(1)) $(call libs_below,$(1))
	$$(call say,LD)
	$$(Q)$$(CC) $$(VARIANT_LDFLAGS) $$(LDFLAGS) $$(UNIT_WRAPPED) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(call pkg_libs,$$(PKGS_test)) -lev
endef
$(foreach r,$(DAEMON_ROOMS) keeper proto client vfioctl,$(eval $(call unit_rules,$(r))))

# Memory that is short: tests/unit/memory/failing.c.
$(BUILD)/tests/unit/broker/test-observing-faults: $(BUILD)/tests/unit/memory/failing.o
$(BUILD)/tests/unit/memory/test-% $(BUILD)/tests/unit/broker/test-observing-faults: \
	UNIT_WRAPPED := -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc

# A broker without children and without a kernel, as fuzz-wire's.
FAKE_JOB_TESTS := $(addprefix $(BUILD)/tests/unit/broker/test-,tenancy selection)
$(FAKE_JOB_TESTS): $(BUILD)/tests/fuzz/fake-job.o
$(FAKE_JOB_TESTS): UNIT_WRAPPED = $(FUZZ_WRAPPED)

# A kernel with iommufd that is none.
$(BUILD)/tests/unit/keeper/test-iommufd: UNIT_WRAPPED := -Wl,--wrap=ioctl -Wl,--wrap=close

# What vfioctl looks for beside itself, and what stands for a kernel that refuses.
$(BUILD)/tests/unit/vfioctl/shim.so: $(SHIM)
	@mkdir -p $(@D)
	$(Q)ln -f $< $@
$(BUILD)/tests/unit/vfioctl/refusing.so: tests/unit/vfioctl/preload/refusing.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(BASE_CFLAGS)) $(WARNINGS) -O2 -shared -o $@ $<
$(BUILD)/tests/unit/vfioctl/test-shim-preload: | $(addprefix $(BUILD)/tests/unit/vfioctl/,shim.so refusing.so)

# A container that is none.
$(BUILD)/tests/unit/client/test-dma: UNIT_WRAPPED := -Wl,--wrap=ioctl

$(BUILD)/tests/mock/test-%: $(BUILD)/tests/mock/test-%.o $(MOCK_HELPERS) $(call libs_below,service)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_mock)) -lev

# tests/host: the daemon itself, on a mocked host that this program makes.
MOCK_HOST := $(BUILD)/tests/host/mock-host
$(MOCK_HOST): $(BUILD)/tests/host/mock-host.o $(BUILD)/tests/mock/testbed.o $(call libs_below,base)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKGS_mock))

# What vfiod-keeper finds in it besides.
KEEPER_USER := $(BUILD)/tests/host/keeper-user.so
$(KEEPER_USER): $(BUILD)/tests/host/keeper-user.o
	$(call say,LD)
	$(Q)$(CC) -shared $(LDFLAGS) -o $@ $<

# tests/fuzz/fuzz-NAME.c is a fuzz target. With VARIANT=fuzz libFuzzer runs it; otherwise replay.c, over
# the inputs that are kept. What fake-job.c stands for goes by way of it.
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz-%.c,%,$(sort $(wildcard tests/fuzz/fuzz-*.c)))
FUZZ_BIN := $(FUZZ_NAMES:%=$(BUILD)/tests/fuzz/fuzz-%)
FUZZ_SHARED := $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/fuzz/fuzz-% tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c)))
FUZZ_MAIN := $(if $(filter fuzz,$(VARIANT)),,$(BUILD)/tests/fuzz/replay.o)
FUZZ_WRAPPED := $(shell sed -n "s/^[a-z].*__wrap_\([a-z_]*\).*/-Wl,--wrap=\1/p" tests/fuzz/fake-job.c | sort -u)
$(FUZZ_BIN): %: %.o $(FUZZ_SHARED) $(FUZZ_MAIN) $(call libs_below,service) $(call lib_of,memory)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(if $(FUZZ_MAIN),,-fsanitize=fuzzer) $(LDFLAGS) $(FUZZ_WRAPPED) -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_daemon)) -lev

.SECONDARY:
include tests/tests.mk

# --- installing -----------------------------------------------------------------
INSTALL ?= install
UNITDIR     = $(systemdlibdir)/systemd/system
# Where the shells look by themselves: bash-completion's pkg-config file says the same.
bashcompletiondir ?= $(datadir)/bash-completion/completions
zshcompletiondir  ?= $(datadir)/zsh/vendor-completions
fishcompletiondir ?= $(datadir)/fish/vendor_completions.d
MAN1 := $(wildcard man/*.1)
MAN3 := $(wildcard man/*.3)
MAN5 := $(wildcard man/*.5)
MAN7 := $(wildcard man/*.7)
MAN8 := $(wildcard man/*.8)
EXAMPLE_FILES := $(addprefix client/examples/,vmm.c vfiod.py dma.py)
examplesdir ?= $(datadir)/doc/vfiod/examples

# Every file of an installation but the configuration: `uninstall` removes the same list.
INSTALLED = $(sbindir)/vfiod $(bindir)/vfioctl $(libexecdir)/vfiod-keeper $(libexecdir)/vfiod-privileged \
	$(libdir)/libvfiod.so.$(VERSION) $(libdir)/libvfiod.so.$(SOVERSION) $(libdir)/libvfiod.so \
	$(libdir)/libvfiod.a $(libdir)/vfiod/shim.so $(libdir)/pkgconfig/libvfiod.pc $(includedir)/vfiod.h \
	$(patsubst proto/%,$(datadir)/vfiod/%,$(INTERFACES)) \
	$(patsubst man/%,$(mandir)/man1/%,$(MAN1)) $(patsubst man/%,$(mandir)/man3/%,$(MAN3)) \
	$(patsubst man/%,$(mandir)/man5/%,$(MAN5)) $(patsubst man/%,$(mandir)/man8/%,$(MAN8)) \
	$(mandir)/man7/org.vfiod.7 $(patsubst man/%,$(mandir)/man7/%,$(MAN7)) \
	$(patsubst client/examples/%,$(examplesdir)/%,$(EXAMPLE_FILES)) \
	$(bashcompletiondir)/vfioctl $(zshcompletiondir)/_vfioctl $(fishcompletiondir)/vfioctl.fish \
	$(UNITDIR)/vfiod.service $(UNITDIR)/vfiod.socket \
	$(UNITDIR)/vfiod-privileged.service $(UNITDIR)/vfiod-privileged.socket \
	$(systemdlibdir)/sysusers.d/vfiod.conf $(systemdlibdir)/tmpfiles.d/vfiod.conf \
	$(systemdlibdir)/systemd/catalog/vfiod.catalog \
	$(systemdlibdir)/modules-load.d/vfiod.conf $(systemdlibdir)/udev/rules.d/60-vfiod.rules

fill_in = sed -e 's|@prefix@|$(prefix)|g' -e 's|@sbindir@|$(sbindir)|g' -e 's|@libexecdir@|$(libexecdir)|g' -e 's|@libdir@|$(libdir)|g' \
	-e 's|@includedir@|$(includedir)|g' -e 's|@version@|$(VERSION)|g'
# Changes when one of the paths does, and with it what they are written into.
PATHS := $(BUILD)/gen/paths
.PHONY: FORCE
$(PATHS): FORCE
	@mkdir -p $(@D)
	@echo '$(prefix) $(sbindir) $(libdir) $(includedir) $(libexecdir) $(sysconfdir) $(VERSION)' | cmp -s - $@ || \
		echo '$(prefix) $(sbindir) $(libdir) $(includedir) $(libexecdir) $(sysconfdir) $(VERSION)' >$@
$(BUILD)/daemon/main.o $(BUILD)/client/vfioctl/shim-program.o: $(PATHS)
$(BUILD)/%.service: systemd/%.service.in $(PATHS) Makefile
	@mkdir -p $(@D)
	$(Q)$(fill_in) $< >$@
$(BUILD)/%.rules: systemd/%.rules.in $(PATHS) Makefile
	@mkdir -p $(@D)
	$(Q)$(fill_in) $< >$@
$(BUILD)/libvfiod.pc: client/libvfiod.pc.in $(PATHS) Makefile
	@mkdir -p $(@D)
	$(Q)$(fill_in) $< >$@

.PHONY: install uninstall
# vfiod.conf is the administrator's: never overwritten.
install: all $(BUILD)/vfiod.service $(BUILD)/vfiod-privileged.service $(BUILD)/60-vfiod.rules $(BUILD)/libvfiod.pc
	$(INSTALL) -Dm755 $(BUILD)/vfiod $(DESTDIR)$(sbindir)/vfiod
	$(INSTALL) -Dm755 $(BUILD)/vfiod-keeper $(DESTDIR)$(libexecdir)/vfiod-keeper
	$(INSTALL) -Dm755 $(BUILD)/vfiod-privileged $(DESTDIR)$(libexecdir)/vfiod-privileged
	$(INSTALL) -Dm755 $(BUILD)/vfioctl $(DESTDIR)$(bindir)/vfioctl
	$(INSTALL) -Dm755 $(LIBVFIOD) $(DESTDIR)$(libdir)/libvfiod.so.$(VERSION)
	ln -sf libvfiod.so.$(VERSION) $(DESTDIR)$(libdir)/libvfiod.so.$(SOVERSION)
	ln -sf libvfiod.so.$(SOVERSION) $(DESTDIR)$(libdir)/libvfiod.so
	$(INSTALL) -Dm755 $(SHIM) $(DESTDIR)$(libdir)/vfiod/shim.so
	$(INSTALL) -Dm644 $(BUILD)/libvfiod.a $(DESTDIR)$(libdir)/libvfiod.a
	$(INSTALL) -Dm644 $(BUILD)/libvfiod.pc $(DESTDIR)$(libdir)/pkgconfig/libvfiod.pc
	$(INSTALL) -Dm644 client/include/vfiod.h $(DESTDIR)$(includedir)/vfiod.h
	$(INSTALL) -Dm644 -t $(DESTDIR)$(datadir)/vfiod $(INTERFACES)
	$(INSTALL) -Dm644 -t $(DESTDIR)$(mandir)/man1 $(MAN1)
	$(INSTALL) -Dm644 -t $(DESTDIR)$(mandir)/man3 $(MAN3)
	$(INSTALL) -Dm644 -t $(DESTDIR)$(mandir)/man5 $(MAN5)
	$(INSTALL) -Dm644 -t $(DESTDIR)$(mandir)/man7 $(BUILD)/org.vfiod.7 $(MAN7)
	$(INSTALL) -Dm644 -t $(DESTDIR)$(examplesdir) $(EXAMPLE_FILES)
	$(INSTALL) -Dm644 -t $(DESTDIR)$(mandir)/man8 $(MAN8)
	$(INSTALL) -Dm644 client/completion/vfioctl $(DESTDIR)$(bashcompletiondir)/vfioctl
	$(INSTALL) -Dm644 client/completion/_vfioctl $(DESTDIR)$(zshcompletiondir)/_vfioctl
	$(INSTALL) -Dm644 client/completion/vfioctl.fish $(DESTDIR)$(fishcompletiondir)/vfioctl.fish
	$(INSTALL) -Dm644 -t $(DESTDIR)$(UNITDIR) $(BUILD)/vfiod.service systemd/vfiod.socket \
		$(BUILD)/vfiod-privileged.service systemd/vfiod-privileged.socket
	$(INSTALL) -Dm644 systemd/vfiod.sysusers.conf $(DESTDIR)$(systemdlibdir)/sysusers.d/vfiod.conf
	$(INSTALL) -Dm644 systemd/vfiod.tmpfiles.conf $(DESTDIR)$(systemdlibdir)/tmpfiles.d/vfiod.conf
	$(INSTALL) -Dm644 systemd/vfiod.modules-load.conf \
		$(DESTDIR)$(systemdlibdir)/modules-load.d/vfiod.conf
	$(INSTALL) -Dm644 -t $(DESTDIR)$(systemdlibdir)/systemd/catalog systemd/vfiod.catalog
	$(INSTALL) -Dm644 $(BUILD)/60-vfiod.rules \
		$(DESTDIR)$(systemdlibdir)/udev/rules.d/60-vfiod.rules
	$(INSTALL) -dm755 $(DESTDIR)$(sysconfdir)/vfiod/vfiod.conf.d
	[ -e $(DESTDIR)$(sysconfdir)/vfiod/vfiod.conf ] || \
		$(INSTALL) -m644 systemd/vfiod.conf $(DESTDIR)$(sysconfdir)/vfiod/vfiod.conf
uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	[ ! -d $(DESTDIR)$(libdir)/vfiod ] || rmdir $(DESTDIR)$(libdir)/vfiod
	[ ! -d $(DESTDIR)$(datadir)/vfiod ] || rmdir $(DESTDIR)$(datadir)/vfiod
	[ ! -d $(DESTDIR)$(examplesdir) ] || rmdir -p --ignore-fail-on-non-empty $(DESTDIR)$(examplesdir)
	@echo "Left in place: $(DESTDIR)$(sysconfdir)/vfiod"

# --- dependency files -----------------------------------------------------------
-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
