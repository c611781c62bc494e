# shellcheck shell=bash
# The part of `make bench` that needs real groups; runs in the guest, its output to run.sh.
set -eEu -o pipefail
# shellcheck source=tests/vm/guest/lib.sh
. "$VM/guest/lib.sh"
exec </dev/null
scenario_begin
PATH=$BUILD/tests/bench:$PATH

# Both groups stay taken: what is left to measure is the broker.
start_daemon <<END
[rule measured]
match = pci:address=$EDU
allow = user:alice
require-reset = no
return = no

[rule flood]
match = pci:address=$NIC_1
allow = user:mallory
return = no

[rule bare]
match = pci:address=$NIC_2
allow = user:root
return = no
END
fairness "$SOCKET" "$EDU" 1000 "$NIC_1" 1002
echo
handover "$SOCKET" "$EDU" "$(group_of "$EDU")"
echo
# The bare process has its group from nobody.
vfioctl take "$NIC_2" >taken
bare=$(group_of "$NIC_2")
mapping "$SOCKET" "$EDU" "$bare"
is_free() { vfioctl list --all | grep -q "^$bare  *taken"; }
wait_until 20 is_free
vfioctl return "$bare" >returned
vfioctl return "$(group_of "$EDU")" >>returned
vfioctl return "$(group_of "$NIC_1")" >>returned
scenario_end
