/* What holds of both ways of vfioctl run --shim, with the daemon of shim-daemon.h. */
#pragma once

/* `how` is the option: "--shim", "--shim=preload". */
void shim_case_any(const char *how);
