# shellcheck shell=bash
# Mediated devices that pin pages by themselves (vfiod-pin-*.ko, tests/vm/module) are to Linux 7 what they are to 6.1, in
# spaces by type1, beside hardware: what they and a device have both pinned is owed once.
# shellcheck source=tests/vm/scenarios/93-mdev-pins.sh
. "$VM/scenarios/93-mdev-pins.sh"
