# shellcheck shell=bash
# kill -9 of the daemon while it observes what trusted clients map: what was reported before is forgotten, and
# nothing is the worse for it; what is mapped afterwards is observed. The kernel's bill is what it was.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"
# shellcheck source=tests/vm/guest/kept
. "$VM/guest/kept"

start_kept_daemon <<END
[rule alice]
match = pci:address=$EDU
allow = user:alice
trusted = yes
END
ulimit -l 8192
are_observed() { ask alice observed && [ "$ANSWER" = "$1" ]; }
assert_observed() { # BOOK
	wait_until 20 are_observed "$1"
}

client alice alice
ask alice lease l 64M "$EDU"
ask alice container c l
ask alice memfd m 16M
ask alice dma-map l c m 0x100000 16M
assert_observed "uid:1000=4096/4096"
kill_kept
# Her connection goes on, and so does her lease; she need not know.
ask alice observed
assert_eq "$ANSWER" "" "what is observed after a restart"
assert_locked "${CLIENT[alice]}" 4096
assert_contains "$(vfioctl audit --json)" '"isRight":true'
ask alice memfd other 4M
ask alice dma-map l c other 0x10000000 4M
assert_observed "uid:1000=1024/1024"
assert_locked "${CLIENT[alice]}" 5120
assert_contains "$(vfioctl audit --json)" '"isRight":true'
# What nobody knows of can be taken back, and is mapped anew.
ask alice dma-unmap l c 0x100000 16M
assert_observed "uid:1000=1024/1024"
ask alice dma-map l c m 0x100000 16M
assert_observed "uid:1000=5120/5120"
ask alice release l
assert_observed ""
dismiss alice
assert_over
