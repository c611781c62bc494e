/* An entry of udev's database, which any program may write that root trusts with /run. */
#include "daemon/base/util.h"
#include "daemon/inventory/internal.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[128];
	char **properties = NULL, **tags = NULL;

	if (!*path) {
		snprintf(path, sizeof(path), "%s/data", fuzz_directory());
		mkdir(path, 0755);
	}
	fuzz_write("data/+pci:0000:01:00.0", data, size);
	int r = database_read(fuzz_directory(), "pci", "0000:01:00.0", &properties, &tags);
	must(r == 0, "%d", r);
	for (size_t i = 0; properties && properties[i]; i++)
		must(strchr(properties[i], '='), "%s", properties[i]);
	for (size_t i = 0; tags && tags[i]; i++)
		must(*tags[i], "an empty tag");
	const char *value = property_value(properties, "ID_MODEL");
	free(device_describe(property_value(properties, "ID_VENDOR"), value));
	strv_free(properties);
	strv_free(tags);
	return 0;
}
