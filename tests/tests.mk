# Set-up and test targets, included by the top Makefile.

.PHONY: all help setup-build setup-check setup-vm clean check check-unit check-mock
setup-build:
	@tests/setup/packages.sh build
setup-check:
	@tests/setup/packages.sh check
setup-vm:
	@tests/setup/packages.sh vm

# Runs cmocka programs one after another; stops at none, fails if one failed.
check-unit: setup-check $(UNIT_BIN)
	@tests/unit/run.sh $(UNIT_BIN)
check-mock: setup-check $(MOCK_BIN)
	@RUNNER=umockdev-wrapper tests/unit/run.sh $(MOCK_BIN)

clean:
	rm -rf build

# --- tests/vm: a real kernel in QEMU --------------------------------------------
# Programs for scenarios need nothing but libc: no pkg-config, so that they build without
# the packages of `setup-check`.
VM_SRC := $(filter-out tests/vm/programs/program.c,$(sort $(wildcard tests/vm/programs/*.c)))
VM_BIN := $(VM_SRC:%.c=$(BUILD)/%)
$(BUILD)/tests/vm/%.o: tests/vm/%.c | setup-build
	@mkdir -p $(@D)
	$(CC) $(BASE_CFLAGS) $(WARNINGS) $(VARIANT_CFLAGS) $(CFLAGS) -c $< -o $@
$(BUILD)/tests/vm/programs/%: $(BUILD)/tests/vm/programs/%.o $(BUILD)/tests/vm/programs/program.o
	$(CC) $(VARIANT_LDFLAGS) $(LDFLAGS) -o $@ $^

.PHONY: vm-programs check-vm shell
vm-programs: $(VM_BIN)
# SCENARIOS="00-machine-dma 10-…" chooses; all of them without.
check-vm: setup-vm all vm-programs
	@VARIANT=$(VARIANT) tests/vm/run.sh $(SCENARIOS)
shell: setup-vm all vm-programs
	@VARIANT=$(VARIANT) tests/vm/run.sh --shell
