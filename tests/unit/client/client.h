/* What the tests of libvfiod share. */
#pragma once

#include "client/include/vfiod.h"
#include "tests/unit/client/fake.h"

struct vfiod *client_open(const struct fake *fake);
/* How many descriptors this process has open: nothing may be left behind. */
int client_count_fds(void);
