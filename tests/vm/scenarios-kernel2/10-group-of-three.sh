# shellcheck shell=bash
# What the first kernel does, this one does, too: a group of three, DMA, and all as it was before.
# shellcheck source=tests/vm/scenarios/13-group-of-three.sh
. "$VM/scenarios/13-group-of-three.sh"
