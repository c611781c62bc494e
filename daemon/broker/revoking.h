/*
 * A lease that an administrator wants back. VFIO has no revoke: its holder is asked. Where the
 * rules of its groups say revoke = end, more follows if he does not give it back in time:
 *
 *   asked       he is told (LEASE_RELEASE_REQUESTED); the log says until when
 *   ended       the lease is over, and its groups leave their spaces
 *   terminated  SIGTERM to the process that has had it, if a group is still open
 *   killed      SIGKILL to it
 *
 * The client of a brokered lease is sent no signal: it has been given devices, no groups, and what
 * it has open lingers until it closes that. Each stage is logged, with a message ID of its own, and
 * told to monitors ("revokeStage").
 */
#pragma once

#include "daemon/broker/broker.h"

/* How long the holder has from when he is asked; -1: he is only asked. */
int lease_revoke_seconds(struct broker *broker, const struct lease *lease);
/* Of one that has been asked for, with more to follow: until its lease ends; -1: nothing. */
double lease_revoke_left(const struct broker *broker, const struct lease *lease);

/*
 * Asks for it; `now`: without waiting, the lease ends at once, whatever the rules say. What follows
 * goes by the rules as they are now. Asked for once more, he has no more time. 0 or -ENOMEM.
 */
int broker_revoke(struct broker *broker, struct lease *lease, const char *reason, bool now);
