#include "daemon/base/text.h"

#include <string.h>

char *text_put(char *to, const char *end, const char *from)
{
	size_t length = strnlen(from, (size_t)(end - to) - 1);

	to = mempcpy(to, from, length);
	*to = '\0';
	return to;
}

char *text_put_number(char *to, const char *end, uint64_t number)
{
	char digits[21], *first = digits + sizeof(digits) - 1;

	*first = '\0';
	do
		*--first = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return text_put(to, end, first);
}

void text_copy_printable(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; from[i] && i + 1 < size; i++) {
		to[i] = from[i];
		if (to[i] < ' ' || to[i] > '~')
			to[i] = '?';
	}
	to[i] = '\0';
}
