/*
 * Preloaded into vfiod-keeper by the host tests, where we are root: the user that it becomes, which
 * only an installation makes, is there as "nobody".
 */
#include <pwd.h>
#include <string.h>

__attribute__((visibility("default"))) struct passwd *getpwnam(const char *name)
{
	static struct passwd keeper = {
		.pw_name = (char *)"vfiod-keeper", .pw_uid = 65534, .pw_gid = 65534
	};

	return strcmp(name, keeper.pw_name) == 0 ? &keeper : NULL;
}
