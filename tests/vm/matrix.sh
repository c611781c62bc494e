#!/bin/bash
# The scenarios of matrix-scenarios on each of KERNELS (stock 6.12 7.2) behind each of IOMMUS (intel amd virtio): a boot
# each, then a table. What is not possible says why, and is no failure. Exit status 0 if no scenario failed.
# The output of each is in build/VARIANT/matrix.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
logs=$here/../../build/${VARIANT:-release}/matrix
read -ra kernels <<<"${KERNELS:-stock 6.12 7.2}"
read -ra iommus <<<"${IOMMUS:-intel amd virtio}"
mapfile -t scenarios < <(sed -n 's/^[a-z]* \([0-9].*\)/\1/p' "$here/matrix-scenarios")
mapfile -t suites < <(sed -n 's/^\([a-z]*\) [0-9].*/\1/p' "$here/matrix-scenarios" | uniq)
failed=0

# "8 passed, 1 failed" of a suite's scenarios.
cell() { # LOG SUITE
	sed -n "s/^$2 //p" "$here/matrix-scenarios" | awk '
		NR == FNR { wanted[$1] = 1; n++; next }
		/^ok / && wanted[$4] { passed++ }
		/^not ok / && wanted[$5] { failed++ }
		/^skipped / { sub(/:$/, "", $2); if (wanted[$2]) skipped++ }
		END {
			missing = n - passed - failed - skipped
			printf "%d passed%s%s%s\n", passed, failed ? ", " failed " FAILED" : "",
				skipped ? ", " skipped " skipped" : "", missing ? ", " missing " NOT RUN" : ""
		}' - "$1"
}

row() { # KERNEL IOMMU
	local log=$logs/$1-$2.log line suite
	printf '%-8s %-8s' "$1" "$2"
	if line=$(grep -m 1 -o 'not possible: .*' "$log"); then
		echo "$line"
		return
	fi
	for suite in "${suites[@]}"; do
		printf '%-22s' "$(cell "$log" "$suite")"
	done
	echo
}

mkdir -p "$logs"
for kernel in "${kernels[@]}"; do
	for iommu in "${iommus[@]}"; do
		echo "--- kernel $kernel, IOMMU $iommu"
		log=$logs/$kernel-$iommu.log
		VFIOD_VM_KERNEL=$kernel VFIOD_VM_IOMMU=$iommu "$here/run.sh" "${scenarios[@]}" 2>&1 | tee "$log" ||
			grep -q 'not possible: ' "$log" || failed=1
	done
done
printf '\n%-8s %-8s' kernel IOMMU
printf '%-22s' "${suites[@]}"
echo
for kernel in "${kernels[@]}"; do
	for iommu in "${iommus[@]}"; do
		row "$kernel" "$iommu"
	done
done
exit "$failed"
