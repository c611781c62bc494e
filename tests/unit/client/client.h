/* What the tests of libvfiod share. */
#pragma once

#include "client/include/vfiod.h"
#include "tests/unit/client/fake.h"
#include "tests/unit/count-fds.h"

struct vfiod *client_open(const struct fake *fake);
