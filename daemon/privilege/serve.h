/*
 * vfiod-privileged: what takes a capability, done for vfiod alone (message.h). It keeps nothing:
 * each connection is served by a child of its own, so one that a client lets wait delays no other,
 * and whichever of these processes is killed, vfiod asks the next. Keepers that were started
 * outlive them.
 *
 * vfiod is not believed: somebody may have taken it over. What is asked for is numbers, of which
 * these are checked, and nothing is done that privilege.h does not have:
 *   who asks    root's, and of the unit that is served
 *   signal      SIGTERM or SIGKILL, to a process by its pidfd; never the first one
 *   page map    opened for reading, of a process that has this start time
 *   config      opened for reading; a name that is a PCI address, and leads nowhere else
 *   open files  names of nodes and of VFIO devices, with what fdinfo says; none of this program's
 *   device      a copy that is a VFIO device, and no ioctl before that is sure; it is not handed on
 *   keeper      one program, known from the start; a role by its number; another user, and no
 *               capability, before it runs; in the control group of a process with this start time
 * What cannot be checked is whether it matters: which lease a process has is known to vfiod only.
 */
#pragma once

struct privilege_server {
	const char *unit;   /* only processes of this unit are served; NULL: of any */
	const char *keeper; /* the program */
};

/* Accepts connections, of its own user only, until a signal ends it. -errno: it cannot. */
int privilege_serve(int listening, const struct privilege_server *server);
