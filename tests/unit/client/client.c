#include "tests/unit/client/client.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct vfiod *client_open(const struct fake *fake)
{
	struct vfiod *vfiod;

	assert_int_equal(vfiod_open(fake_socket(fake), &vfiod), 0);
	assert_non_null(vfiod);
	return vfiod;
}
