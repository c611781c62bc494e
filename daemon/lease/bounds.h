/*
 * What clients may make vfiod hold or do, at most. Each is a key of [daemon] with this default;
 * vfiod.conf(5) says what happens beyond it. A user is a uid; administrators are bound by
 * what holds for a connection, and by nothing else.
 */
#pragma once

struct bounds {
	/* All connections but those of administrators, and the same of one user. */
	unsigned connections, connections_per_user;
	/* Of one user. Leases: with those that wait; waiting: requests that wait for others'
	 * groups. */
	unsigned leases_per_user, waiting_per_user, monitors_per_user;
	unsigned transactions_per_user; /* acquires and releases at work at a time; more wait */
	unsigned memory_per_user_bytes; /* of all its connections: what arrived, what is to be sent
					 */
	/* Spaces; those that are orphaned count, too. */
	unsigned spaces_per_user, memories_per_space, mappings_per_space;
	unsigned reports_per_user; /* mappings that clients report */
	/* One connection. */
	unsigned message_bytes, output_bytes, calls, depth, values, descriptors, selectors;
	unsigned message_timeout_seconds; /* for a message that has begun to arrive whole */
	unsigned output_timeout_seconds;  /* without a byte of the output being read */
	unsigned keeper_timeout_seconds;  /* for a keeper's answer; to large requests, more */
};
