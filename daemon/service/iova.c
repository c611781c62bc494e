#include "daemon/service/iova.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Not strtoull(3), which takes blanks, signs, and what is too large. */
int iova_parse(const char *text, uint64_t *iova)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	uint64_t value = 0;

	if (strncmp(text, "0x", 2) != 0)
		return -EINVAL;
	size_t n = strlen(text + 2);
	if (n < 1 || n > 16 || strspn(text + 2, digits) != n)
		return -EINVAL;
	for (const char *c = text + 2; *c; c++)
		value = value << 4 | (uint64_t)((strchr(digits, *c) - digits) & 15);
	*iova = value;
	return 0;
}
