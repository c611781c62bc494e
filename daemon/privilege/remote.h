/* What takes a capability, asked of vfiod-privileged. As in privilege.h. */
#pragma once

#include "daemon/privilege/privilege.h"

int remote_signal(const char *socket, int pidfd, int signal);
/* 0 and the connection in *report, or -errno. */
int remote_start_keeper(const char *socket, enum keeper_role role, const struct process_id *client,
	int keeper_socket, int *report);
int remote_pagemap(const char *socket, const struct process_id *process);
int remote_config_space(const char *socket, const char *directory);
int remote_visit_files(
	const char *socket, pid_t pid, int seconds, open_file_visitor visitor, void *userdata);
int remote_device_facts(const char *socket, pid_t pid, int fd, struct device_facts *facts);
