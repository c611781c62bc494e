/* A journal entry: what is understood is written again as it was understood. */
#include "daemon/bind/journal-json.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 7 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal_entry entry, again;
	char text[256] = "", *first = NULL, *second = NULL;
	size_t length;

	int r = journal_decode((const char *)data, size, GROUP, &entry, text, sizeof(text));
	if (r != 0) {
		must(r == -EBADMSG && *text && fuzz_is_printable(text), "%d: %s", r, text);
		return 0;
	}
	must(entry.plan->group == GROUP, "group %d", entry.plan->group);
	must(journal_encode(&entry, &first, &length) == 0, "not written");
	r = journal_decode(first, length, GROUP, &again, text, sizeof(text));
	must(r == 0, "%s: %s", text, first);
	must(journal_encode(&again, &second, &length) == 0, "not written again");
	must(strcmp(first, second) == 0, "%s\n%s", first, second);
	free(first);
	free(second);
	journal_entry_clear(&entry);
	journal_entry_clear(&again);
	return 0;
}
