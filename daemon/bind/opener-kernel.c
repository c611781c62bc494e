/* What the search asks of the kernel itself, of descriptors that belong to others. */
#include "daemon/bind/opener-parts.h"

#include "daemon/base/util.h"
#include "daemon/bind/kernel.h"
#include "daemon/bind/plan.h"
#include "daemon/privilege/privilege.h"

#include <errno.h>

static int kernel_facts(void *userdata, pid_t pid, int fd, struct device_facts *facts)
{
	(void)userdata;
	return privilege_device_facts(pid, fd, facts);
}

const struct opener_ops opener_kernel = {
	.facts = kernel_facts,
};

bool opener_makes_nodes(void *userdata)
{
	(void)userdata;
	return opener_has_nodes("");
}

/* While somebody waits for the answer. */
static const double ASK_SECONDS = 2;

int opener_ask(void *userdata, const struct plan *plan, bool nodes_only, struct opener *opener)
{
	(void)userdata;
	_cleanup_free_ const char **syspaths = calloc(plan->n_members + 1, sizeof(*syspaths));
	if (!syspaths)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_members; i++)
		syspaths[i] = plan->members[i].syspath;
	struct opener_query query = {
		.root = "",
		.group = plan->group,
		.syspaths = syspaths,
		.n_syspaths = plan->n_members,
		.daemon = getppid(),
		.nodes_only = nodes_only,
		.seconds = ASK_SECONDS,
	};
	return opener_find(&query, &opener_kernel, opener);
}
