/* One connection of vfiod's with vfiod-privileged. */
#pragma once

#include "daemon/privilege/serve.h"

/* Until its end, or that of the process: what hangs is ended by SIGALRM. */
void privilege_session(int socket, const struct privilege_server *server);
