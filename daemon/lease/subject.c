#include "daemon/lease/subject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int subject_copy(struct subject *to, const struct subject *from)
{
	gid_t *groups = NULL;
	if (from->n_groups > 0) {
		groups = reallocarray(NULL, from->n_groups, sizeof(*groups));
		if (!groups)
			return -ENOMEM;
		memcpy(groups, from->groups, from->n_groups * sizeof(*groups));
	}
	*to = *from;
	to->groups = groups;
	return 0;
}

void subject_clear(struct subject *subject)
{
	free(subject->groups);
	*subject = (struct subject){ 0 };
}
