/* A doorman himself: opens, tells, closes. */
#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/bind/doorman-wire.h"
#include "daemon/bind/job-wire.h"
#include "daemon/bind/nodes.h"
#include "daemon/bind/opener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/*
 * Behind it, but where the group alone is opened, the syspaths of the members: each after a letter
 * that says whether it is lent, and with its NUL.
 */
struct request {
	int32_t group;
	int32_t wish;
};
enum { IS_NOT_LENT = '-', IS_LENT = '+', IS_MDEV_LENT = '*' };

static char letter_of(const struct plan_member *member)
{
	if (!plan_hands_out(member->action))
		return IS_NOT_LENT;
	return strcmp(member->bus, "mdev") == 0 ? IS_MDEV_LENT : IS_LENT;
}

/* An empty text has no letter: its NUL stays where it is. */
static bool member_parse(const char *text, struct plan_member *member)
{
	bool is_lent = *text == IS_LENT || *text == IS_MDEV_LENT;

	member->action = is_lent ? PLAN_ALREADY : PLAN_LEAVE;
	if (*text == IS_MDEV_LENT)
		string_copy(member->bus, sizeof(member->bus), "mdev");
	member->syspath = strdup(*text ? text + 1 : text);
	return member->syspath;
}

size_t doorman_request_size(const struct plan *plan)
{
	size_t size = sizeof(struct request);

	for (size_t i = 0; i < plan->n_members; i++)
		size += 1 + strlen(plan->members[i].syspath) + 1;
	return size;
}

int doorman_request_send(int socket, const struct plan *plan, enum doorman_wish wish)
{
	struct request request = { .group = plan->group, .wish = wish };
	bool tells = wish != DOORMAN_OPENS && wish != DOORMAN_PEEKS;
	size_t size = tells ? doorman_request_size(plan) : sizeof(request);
	_cleanup_free_ char *bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	char *end = mempcpy(bytes, &request, sizeof(request));
	for (size_t i = 0; tells && i < plan->n_members; i++) {
		*end++ = letter_of(&plan->members[i]);
		end = stpcpy(end, plan->members[i].syspath) + 1;
	}
	return send(socket, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static size_t count_texts(const char *bytes, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += bytes[i] == '\0';
	return n;
}

/* `bytes` ends with a NUL, if there are any. NULL: no memory. */
static struct plan *plan_of(const struct request *request, const char *bytes, size_t size)
{
	struct plan *plan = plan_new(request->group, count_texts(bytes, size));

	for (size_t i = 0; plan && i < plan->n_members; i++) {
		if (!member_parse(bytes, &plan->members[i]))
			return plan_free(plan);
		bytes += strlen(bytes) + 1;
	}
	return plan;
}

int doorman_request_receive(int socket, struct plan **plan, enum doorman_wish *wish)
{
	static char bytes[DOORMAN_REQUEST_MAX];
	struct request request;
	ssize_t n;

	*plan = NULL;
	do
		n = recv(socket, bytes, sizeof(bytes), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(request))
		return -EPROTO;
	memcpy(&request, bytes, sizeof(request));
	if ((size_t)n > sizeof(request) && bytes[n - 1] != '\0')
		return -EPROTO;
	*wish = (enum doorman_wish)request.wish;
	*plan = plan_of(&request, bytes + sizeof(request), (size_t)n - sizeof(request));
	return *plan ? 0 : -ENOMEM;
}

struct post {
	const struct sysfs_ops *ops;
	enum { NODES_UNTOLD, NODES_NONE, NODES_SOME } nodes;
};

/* Asked once: a group can be opened, so VFIO is loaded, and remains the same. */
static bool makes_nodes(struct post *post)
{
	const struct sysfs_ops *ops = post->ops;

	if (post->nodes == NODES_UNTOLD)
		post->nodes = !ops->makes_nodes || ops->makes_nodes(ops->userdata) ? NODES_SOME
										   : NODES_NONE;
	return post->nodes == NODES_SOME;
}

static bool nobody_has_a_node(const struct sysfs_ops *ops, const struct plan *plan)
{
	struct opener opener = { .certainty = OPENER_UNKNOWN };

	return ops->find_opener(ops->userdata, plan, true, &opener) < 0 ||
	       opener.certainty != OPENER_SURE;
}

/* A search through /proc costs more than all else, and more with each process of the host. */
static bool looks_for_nodes(enum doorman_wish wish, const struct plan *plan)
{
	return wish == DOORMAN_OPENS_NODES ? nodes_may_be_kept(plan)
					   : wish == DOORMAN_CHECKS || wish == DOORMAN_KEEPS;
}

/* What he hands over; all closed when it is not on its way. */
struct find {
	int group_fd;        /* -1: it does not stay open */
	struct nodes *nodes; /* NULL: none */
};

/* 0 with what is wanted in *find, or REFUSED. */
static int visit(
	struct post *post, const struct plan *plan, enum doorman_wish wish, struct find *find)
{
	const struct sysfs_ops *ops = post->ops;

	if (wish == DOORMAN_REOPENS_NODES)
		return nodes_try(ops, plan, find->nodes) < 0 ? REFUSED : 0;
	int fd = ops->open_group(ops->userdata, plan->group);
	if (fd < 0)
		return REFUSED;
	bool is_well = ops->group_viable(ops->userdata, fd) > 0;
	if (is_well && looks_for_nodes(wish, plan) && makes_nodes(post))
		is_well = nobody_has_a_node(ops, plan);
	if (is_well && wish == DOORMAN_OPENS_NODES)
		is_well = nodes_try(ops, plan, find->nodes) == 0;
	if (is_well && (wish == DOORMAN_OPENS || wish == DOORMAN_KEEPS))
		find->group_fd = fd;
	else
		ops->close_group(ops->userdata, fd);
	return is_well ? 0 : REFUSED;
}

/*
 * 0 or -errno. The copies are gone before anything else is asked, and those of the nodes before he
 * says that he is done.
 */
static int hand_over(const struct sysfs_ops *ops, int result, const struct find *find)
{
	struct record done = { .kind = RECORD_DONE, .member = -1, .result = result };
	int r = 0;

	for (size_t i = 0; r == 0 && find->nodes && i < find->nodes->n; i++) {
		struct record node = { .kind = RECORD_NODE, .member = (int32_t)i };
		if (find->nodes->all[i].fd >= 0)
			r = record_send(CHILD_FD, &node, find->nodes->all[i].fd, 0);
	}
	nodes_close(find->nodes);
	if (r == 0)
		r = record_send(CHILD_FD, &done, find->group_fd, 0);
	if (find->group_fd >= 0 && r < 0)
		ops->close_group(ops->userdata, find->group_fd);
	else if (find->group_fd >= 0)
		close(find->group_fd);
	return r;
}

static bool wants_nodes(enum doorman_wish wish)
{
	return wish == DOORMAN_OPENS_NODES || wish == DOORMAN_REOPENS_NODES;
}

/* False: nobody is there any more. */
static bool serve(struct post *post)
{
	struct find find = { .group_fd = -1 };
	struct plan *plan;
	enum doorman_wish wish = DOORMAN_OPENS;

	/* The analyzer does not know that errno is not 0. */
	if (doorman_request_receive(CHILD_FD, &plan, &wish) < 0 || !plan)
		return false;
	if (wants_nodes(wish))
		find.nodes = nodes_new(plan);
	int result = find.nodes || !wants_nodes(wish) ? visit(post, plan, wish, &find) : REFUSED;
	int r = hand_over(post->ops, result, &find);
	nodes_free(find.nodes);
	plan_free(plan);
	return r == 0;
}

_Noreturn void doorman_child(const struct sysfs_ops *ops, int socket)
{
	struct post post = { .ops = ops };

	if (child_isolate("vfiod-doorman", socket) == 0)
		while (serve(&post))
			;
	_exit(0);
}
