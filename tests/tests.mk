# Set-up and test targets, included by the top Makefile.

.PHONY: all help setup-build setup-check setup-vm clean check check-unit check-mock
setup-build:
	@tests/setup/packages.sh build
setup-check:
	@tests/setup/packages.sh check
setup-vm:
	@tests/setup/packages.sh vm
setup-bench:
	@tests/setup/packages.sh bench

# Runs cmocka programs one after another; stops at none, fails if one failed.
check-unit: setup-check $(UNIT_BIN) $(FUZZ_BIN)
	@tests/unit/run.sh $(UNIT_BIN) $(FUZZ_BIN)
# In bash, zsh and fish themselves.
.PHONY: check-completion
check-completion: setup-check $(BUILD)/vfioctl
	@VFIOCTL=$(BUILD)/vfioctl tests/unit/run.sh tests/completion/test-completion.sh
# The inventory on a mocked sysfs, and the daemon itself on one (tests/host).
# gcc's ASan wants to be the first library; umockdev's is.
check-mock: setup-check $(MOCK_BIN) $(MOCK_HOST) $(KEEPER_USER) $(BUILD)/vfiod $(BUILD)/vfiod-keeper $(BUILD)/vfiod-privileged
	@status=0; \
	RUNNER="env ASAN_OPTIONS=verify_asan_link_order=0 umockdev-wrapper" \
		tests/unit/run.sh $(MOCK_BIN) || status=1; \
	VFIOD_BUILD=$(BUILD) tests/host/run.py || status=1; \
	exit $$status

# Everything. Ends with "N passed, N failed". What two parts at a time would both build is built
# first. A virtual machine keeps one core busy, most of the time.
CHECK_VM := check-vm kernel2-if-cached check-systemd
CHECK_REST := lint check-unit check-completion check-mock sanitize check-valgrind fuzz
check: setup-check setup-vm
	@$(MAKE) --no-print-directory -j 2 everything >/dev/null || true
	@MAKE="$(MAKE)" tests/check.sh $(CHECK_VM) -- $(CHECK_REST)

clean:
	rm -rf build

help:
	@echo 'make              build vfiod, vfioctl and libvfiod into build/release'
	@echo 'make demo         show the broker at work on real VFIO, in a VM'
	@echo 'make shell        a root shell in that VM, vfiod running'
	@echo 'make check        everything below; ends with "N passed, N failed"'
	@echo '  lint            formatting, clang-tidy, cppcheck, shellcheck, man pages, units'
	@echo '  check-unit      pure parts, each failure of each operation'
	@echo '  check-completion  completion in bash, zsh and fish'
	@echo '  check-mock      the daemon and the inventory on a mocked sysfs'
	@echo '  sanitize        both again under ASan and UBSan'
	@echo '  check-valgrind  unit tests under valgrind'
	@echo '  fuzz            each target of tests/fuzz for a minute (FUZZ_SECONDS=60)'
	@echo '  check-systemd   vfiod as installed, under systemd, in the VM'
	@echo '  check-vm        scenarios on a real kernel (SCENARIOS="name …" chooses)'
	@echo '  check-service   all scenarios again, with vfiod as installed, under systemd (UNIT=1)'
	@echo '  check-killpoints  killed at every system call with an effect'
	@echo 'make chaos        clients, kills, unplugging at random, for ten minutes (SEED=, SECONDS=)'
	@echo '  check-kernel2   those that need iommufd or injected failures, on a kernel that'
	@echo '                  is built for them (ten minutes, once; `check` does not build it)'
	@echo '  check-iommufd   these, and all about spaces with each of their backends'
	@echo '  check-matrix    a choice of scenarios on three kernels of Debian, behind three IOMMUs'
	@echo '                  (check-vm KERNEL=stock|6.12|7.2 IOMMU=intel|amd|virtio: one of them)'
	@echo 'make bench        what it costs, against bare peers; tables, and build/bench/*.tsv'
	@echo 'make install      DESTDIR=, prefix=/usr, sysconfdir=/etc; and uninstall'
	@echo 'make clean        remove build/'
	@echo 'Variables: VARIANT=release|clang|sanitize, V=1, NO_INSTALL=1 (never run apt)'

# --- tests/vm: a real kernel in QEMU --------------------------------------------
# Programs for scenarios need nothing but libc: no pkg-config, so that they build without
# the packages of `setup-check`. Those in lib/ are clients, and have libvfiod as well.
VM_SHARED := $(patsubst %,tests/vm/programs/%.c,program edu edu-device iommufd word)
VM_KILL := tests/vm/programs/tracer.c tests/vm/programs/group-state.c
VM_SRC := $(filter-out $(VM_SHARED) $(VM_KILL),$(sort $(wildcard tests/vm/programs/*.c tests/vm/programs/lib/*.c)))
VM_BIN := $(VM_SRC:%.c=$(BUILD)/%)
$(BUILD)/tests/vm/%.o: tests/vm/%.c | setup-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(BASE_CFLAGS) $(WARNINGS) $(VARIANT_CFLAGS) $(CFLAGS) -c $< -o $@
$(BUILD)/tests/vm/programs/%: $(BUILD)/tests/vm/programs/%.o $(VM_SHARED:%.c=$(BUILD)/%.o)
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^
$(BUILD)/tests/vm/programs/kill-points: $(VM_KILL:%.c=$(BUILD)/%.o)
$(BUILD)/tests/vm/programs/keeper-drive: $(BUILD)/daemon/base/wire.o
$(BUILD)/tests/vm/programs/lib/%: $(BUILD)/tests/vm/programs/lib/%.o $(VM_SHARED:%.c=$(BUILD)/%.o) $(BUILD)/libvfiod.a
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKGS_client))

# Those in space/ are one program, a client of spaces.
VM_SPACE := $(BUILD)/tests/vm/programs/space-client
$(VM_SPACE): $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/vm/programs/space/*.c)) $(VM_SHARED:%.c=$(BUILD)/%.o) $(BUILD)/libvfiod.a
	$(call say,LD)
	$(Q)$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKGS_client)) -pthread

# One of them without any library: what loads no other code is a client, too.
VM_STATIC := $(BUILD)/tests/vm/programs/edu-dma-static
$(VM_STATIC): $(BUILD)/%-static: %.c $(VM_SHARED) | setup-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(filter-out -MMD -MP -fPIC,$(BASE_CFLAGS)) $(WARNINGS) -O2 -g $(CFLAGS) -static $^ -o $@

# What people begin with, as they would build it: run by 12-examples.
EXAMPLES := $(BUILD)/client/examples/vmm
$(BUILD)/client/examples/%: client/examples/%.c $(BUILD)/libvfiod.a client/include/vfiod.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(WARNINGS) $(VARIANT_CFLAGS) $(CFLAGS) -Iclient/include $(VARIANT_LDFLAGS) $(LDFLAGS) \
		-o $@ $< $(BUILD)/libvfiod.a $(call pkg_libs,$(PKGS_client))

# Those in preload/ are libraries.
VM_PRELOAD := $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/vm/programs/preload/*.c))
$(BUILD)/tests/vm/programs/preload/%.so: tests/vm/programs/preload/%.c | setup-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(BASE_CFLAGS) $(WARNINGS) -O2 -g $(CFLAGS) -fvisibility=default -shared $< -o $@

.PHONY: vm-programs check-vm shell
vm-programs: $(VM_BIN) $(VM_SPACE) $(VM_PRELOAD) $(VM_STATIC) $(EXAMPLES)
# SCENARIOS="00-machine-dma 10-…" chooses; all of them without. UNIT=1: their daemon is the installed
# service, under systemd as the first process.
check-vm: setup-vm all vm-programs $(if $(UNIT),vm-installed)
	@VARIANT=$(VARIANT) UNIT=$(UNIT) $(VM_MACHINE) tests/vm/run.sh $(SCENARIOS)
# KERNEL=stock|6.12|7.2|second, IOMMU=intel|amd|virtio: another kernel of Debian (tests/vm/kernel.sh), another machine
# (tests/vm/machine.sh). What tests/vm/matrix-scenarios lists is for all of them: KERNELS="…" and IOMMUS="…" choose.
VM_MACHINE = $(if $(KERNEL),VFIOD_VM_KERNEL=$(KERNEL)) $(if $(IOMMU),VFIOD_VM_IOMMU=$(IOMMU))
.PHONY: check-matrix
check-matrix: setup-vm all vm-programs
	@VARIANT=$(VARIANT) KERNELS="$(KERNELS)" IOMMUS="$(IOMMUS)" tests/vm/matrix.sh
# The daemon and its bind children, killed at each system call of a take and a return that has an
# effect; check-vm tries some of them each time.
.PHONY: check-killpoints
check-killpoints: setup-vm all vm-programs
	@VARIANT=$(VARIANT) KILL_EVERY=1 SCENARIO_SECONDS=7200 VFIOD_VM_SECONDS=14400 \
		tests/vm/run.sh 60-kill-take 61-kill-return 98-keeper-killed
# On the second kernel (tests/vm/kernel2.sh), with scenarios of its own. Each allocation of a take, one
# by one, is more than other scenarios have time for.
.PHONY: check-kernel2 check-iommufd check-backend kernel2-if-cached
check-kernel2: setup-vm all vm-programs
	@VARIANT=$(VARIANT) VFIOD_VM_KERNEL=second SCENARIO_SECONDS=$${SCENARIO_SECONDS:-500} \
		tests/vm/run.sh $(SCENARIOS)
# Also with spaces that are made of iommufd, and of type1: what tests/vm/space-scenarios has.
check-iommufd: setup-vm all vm-programs
	@status=0; \
	$(MAKE) --no-print-directory check-kernel2 SCENARIOS= || status=1; \
	for backend in iommufd type1; do \
		$(MAKE) --no-print-directory check-backend BACKEND=$$backend || status=1; \
	done; \
	exit $$status
check-backend: setup-vm all vm-programs
	@BACKEND=$(BACKEND) VARIANT=$(VARIANT) VFIOD_VM_KERNEL=second \
		tests/vm/run.sh $(or $(SCENARIOS),$(shell grep -v '^#' tests/vm/space-scenarios))
kernel2-if-cached: setup-vm
	@if tests/vm/kernel2.sh --cached >/dev/null; then \
		$(MAKE) --no-print-directory check-kernel2 && \
		$(MAKE) --no-print-directory check-backend BACKEND=iommufd \
			SCENARIOS="17-spaces-and-leases 92-ledger"; \
	else \
		echo 'skipped kernel2: it is not built; "make check-kernel2" builds it'; \
	fi
# SEED=… and SECONDS=… (600). A seed that failed is tried again with the same; not without one, so that
# what broke can be. The shell has a SECONDS of its own.
.PHONY: chaos
SEED ?= $(shell date +%s)
CHAOS_SECONDS := $(if $(filter command%,$(origin SECONDS)),$(SECONDS),600)
chaos: setup-vm all vm-programs
	@env -u SECONDS MACHINE_KIND=parallel VARIANT=$(VARIANT) CHAOS_SEED=$(SEED) CHAOS_SECONDS=$(CHAOS_SECONDS) \
		SCENARIO_SECONDS=$$(($(CHAOS_SECONDS) + 600)) VFIOD_VM_SECONDS=$$(($(CHAOS_SECONDS) + 900)) \
		tests/vm/run.sh 59-chaos
shell: setup-vm all vm-programs
	@VARIANT=$(VARIANT) $(VM_MACHINE) tests/vm/run.sh --shell

# vfiod as `make install` puts it, under systemd as the first process of the machine; then scenarios about
# what its unit could take too much of: other namespaces and processes, clients' page maps, netlink, modules.
# check-service: all scenarios so.
.PHONY: check-systemd check-service vm-installed
UNIT_SCENARIOS := 15-in-use 57-direct-observed 72-guard-interfaces 82-variant
vm-installed: setup-check all
	@$(MAKE) --no-print-directory -s install DESTDIR=$(CURDIR)/$(BUILD)/installed systemdlibdir=/usr/lib >/dev/null
check-systemd: setup-vm vm-installed vm-programs
	@VARIANT=$(VARIANT) tests/vm/run.sh --systemd tests/vm/systemd.sh $(UNIT_SCENARIOS)
check-service:
	@$(MAKE) --no-print-directory check-vm UNIT=1

.PHONY: demo
demo: setup-vm all vm-programs
	@echo 'Booting a virtual machine in software emulation; this takes ten to twenty seconds.'
	@VARIANT=$(VARIANT) tests/vm/run.sh --plain tests/vm/demo.sh

# --- tests/fuzz: inputs that nobody has thought of ------------------------------------
# A build of its own, as what libFuzzer looks at has to be compiled for it.
.PHONY: fuzz fuzz-build fuzz-merge
FUZZ ?= $(FUZZ_NAMES)
fuzz-build: setup-check
	@$(MAKE) --no-print-directory -s -j 2 VARIANT=fuzz $(FUZZ_NAMES:%=build/fuzz/tests/fuzz/fuzz-%)
# FUZZ="wire config" chooses.
fuzz: fuzz-build
	@BUILD=build/fuzz tests/fuzz/run.sh $(FUZZ)
# What was found goes to what is kept.
fuzz-merge: fuzz-build
	@BUILD=build/fuzz tests/fuzz/run.sh --merge $(FUZZ)

# --- tests/bench: what it costs --------------------------------------------------
# A program a bench, of what the other files there share. Needs nothing but libc, and those that map libvfiod.
BENCH_BIN := $(patsubst %,$(BUILD)/tests/bench/%,acquire acquire-cdev connections dma-map fairness mapping messages restart shim)
BENCH_SHARED := $(patsubst %,$(BUILD)/tests/bench/%.o,wire sample flood effort)
$(BENCH_BIN): %: %.o $(BENCH_SHARED)
	$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^ $(if $(filter %.a,$^),$(call pkg_libs,$(PKGS_client))) $(LDLIBS)
$(patsubst %,$(BUILD)/tests/bench/%,acquire-cdev mapping dma-map): $(BUILD)/libvfiod.a
$(BUILD)/tests/bench/mapping: $(BUILD)/tests/vm/programs/iommufd.o
$(BUILD)/tests/bench/shim: $(BUILD)/client/vfioctl/shim-filter.o
$(BUILD)/tests/bench/shim: LDLIBS := -lseccomp
# vfiod on the host of the mock tests.
BENCH_MOCK := $(BUILD)/tests/bench/stand-in
$(BENCH_MOCK): %: %.o $(MOCK_HELPERS) $(call libs_below,service)
	$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(call pkg_libs,$(PKGS_mock)) -lev
# Against what is written in C++; not among the programs that `check` compiles, which does without
# its packages.
BENCH_CXX := $(BUILD)/tests/bench/coverage
$(BUILD)/tests/bench/%.o: tests/bench/%.cc | setup-bench
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O2 -g -Wall -Wextra -Werror -I. -MMD -MP $(CXXFLAGS) -c $< -o $@
$(BENCH_CXX): %: %.o $(BUILD)/tests/bench/sample.o $(call lib_of,memory)
	$(CXX) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^
.PHONY: bench
# BENCHES="acquire mapping" chooses; tests/bench/run.sh has the names.
bench: setup-bench all vm-programs $(BENCH_BIN) $(BENCH_MOCK) $(BENCH_CXX)
	@BUILD=$(BUILD) VARIANT=$(VARIANT) tests/bench/run.sh $(BENCHES)

# --- without running, and with every run watched ------------------------------------
.PHONY: everything lint sanitize check-valgrind
# All that is compiled.
everything: all $(UNIT_BIN) $(FUZZ_BIN) $(MOCK_BIN) $(MOCK_HOST) $(KEEPER_USER) vm-programs $(BENCH_BIN)
# PARTS="format tidy" chooses; tests/lint.sh has the parts.
lint: setup-check all
	@mkdir -p $(BUILD)/lint
	@printf '%s\n' $(patsubst -I%,-I$(CURDIR)/%,$(filter-out -MMD -MP,$(BASE_CFLAGS)) -Iclient/include) \
		$(call pkg_cflags,$(PKGS_mock)) >$(BUILD)/lint/compile_flags.txt
	@MAKE="$(MAKE)" BUILD=$(BUILD) tests/lint.sh $(PARTS)

# Unit and mock tests once more under ASan and UBSan (clang's: facts about umockdev say why).
sanitize: setup-check
	@$(MAKE) --no-print-directory -k VARIANT=sanitize check-unit check-mock

# Debian's valgrind (3.19) does not know pidfd_open(2): what needs it runs under ASan only.
VALGRIND_NOT := %/base/test-errand %/base/test-packet %/privilege/test-privilege %/bind/test-doorman %/bind/test-doorman-nodes %/bind/test-job %/bind/test-opener %/client/test-resume \
	%/memory/test-space-adopt %/service/test-lease-facts %/fuzz/fuzz-adopt \
	%/broker/test-memlock %/broker/test-observer %/broker/test-observing %/broker/test-observing-faults \
	%/lease/test-config-load %/memory/test-keeper %/memory/test-space %/memory/test-space-faults %/vfioctl/test-run %/vfioctl/test-run-any %/vfioctl/test-run-cdev %/vfioctl/test-shim %/vfioctl/test-shim-preload %/fuzz/fuzz-wire
VALGRIND := valgrind --quiet --error-exitcode=99 --leak-check=full \
	--errors-for-leak-kinds=definite,indirect,possible --child-silent-after-fork=yes
# The daemon itself runs under it in two of the host tests.
check-valgrind: setup-check $(UNIT_BIN) $(FUZZ_BIN) $(MOCK_HOST) $(BUILD)/vfiod $(BUILD)/vfiod-keeper $(BUILD)/vfiod-privileged
	@echo "    not under valgrind: $(notdir $(filter $(VALGRIND_NOT),$(UNIT_BIN) $(FUZZ_BIN)))"
	@status=0; \
	RUNNER="$(VALGRIND)" tests/unit/run.sh $(filter-out $(VALGRIND_NOT),$(UNIT_BIN) $(FUZZ_BIN)) || status=1; \
	VFIOD_BUILD=$(BUILD) VFIOD_WRAPPER="$(VALGRIND)" \
		tests/host/run.py test_daemon test_wire || status=1; \
	exit $$status
