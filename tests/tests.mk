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
