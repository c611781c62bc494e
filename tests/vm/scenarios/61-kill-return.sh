# shellcheck shell=bash
# kill -9 of the daemon, and of its bind child, at each system call of a return; as 60-kill-take.
# Not under the unit: as 60-kill-take

what="return"
# shellcheck source=tests/vm/scenarios/60-kill-take.sh
. "$VM/scenarios/60-kill-take.sh"
