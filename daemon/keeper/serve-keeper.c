/* The requests of role keeper, each by a function of the table below. */
#include "daemon/keeper/serve.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

/* A request on its way: what has been asked, and what is answered. */
struct job {
	int socket;
	struct keeping *keeping;
	const struct wire_request *asked;
	int fd;      /* that came; who uses it takes it over */
	int context; /* that came with the first request, too; likewise */
	struct wire_done done;
	int answer_fd;                /* that goes with DONE */
	bool closes_answer_fd;        /* as it is not kept */
	const struct wire_info *info; /* that follows DONE */
};

static struct mapping *job_mapping(struct job *job)
{
	return keeping_mapping(job->keeping, job->asked->mapping);
}

/* The runs go first, then DONE: both name where they are in the book. */
static int send_part(struct job *job, const struct book_part *part)
{
	job->done.book_offset = part->offset;
	job->done.n_runs = part->n_runs;
	int r = serve_runs(job->socket, job->keeping->book.fd, part->offset, part->n_runs);
	/* It is our own book: without it there is nothing to go on with. */
	if (r < 0)
		keeping_fail("the book", r);
	return 0;
}

static int do_start(struct job *job)
{
	const struct backend *backend = job->keeping->backend;
	struct book *book = &job->keeping->book;

	if (book->fd >= 0)
		return -EBUSY;
	book->fd = steal_fd(&job->fd);
	if (backend->is_iommufd)
		backend->start(backend->userdata, steal_fd(&job->context));
	return 0;
}

static int do_add_memory(struct job *job)
{
	return keeping_add_memory(job->keeping, job->asked->memory, steal_fd(&job->fd), &job->done);
}

static int do_remove_memory(struct job *job)
{
	return keeping_remove_memory(job->keeping, job->asked->memory);
}

static int do_give_memory(struct job *job)
{
	const struct memory *memory = keeping_memory(job->keeping, job->asked->memory);

	if (!memory)
		return -ENOENT;
	job->answer_fd = memory->fd;
	return 0;
}

static int do_prepare(struct job *job)
{
	int r = mapping_prepare(job->keeping, job->asked, &job->done);
	return r == 0 ? send_part(job, &job_mapping(job)->part) : r;
}

static int do_read(struct job *job)
{
	struct mapping *mapping = job_mapping(job);

	if (!mapping)
		return -ENOENT;
	int r = mapping_read(job->keeping, mapping, &job->done);
	return r == 0 ? send_part(job, &mapping->part) : r;
}

static int do_map(struct job *job)
{
	struct mapping *mapping = job_mapping(job);
	return mapping ? mapping_make(job->keeping, mapping, &job->done) : -ENOENT;
}

static int do_unmap(struct job *job)
{
	struct mapping *mapping = job_mapping(job);

	if (!mapping)
		return -ENOENT;
	mapping_unmake(job->keeping, mapping);
	send_part(job, &mapping->part);
	mapping_forget(job->keeping, mapping);
	return 0;
}

static int do_member(struct job *job)
{
	return group_announce(job->keeping, job->asked->group, job->asked->name);
}

static int do_attach(struct job *job)
{
	return group_attach(job->keeping, job->asked->group, steal_fd(&job->fd),
		job->asked->max_groups, &job->done);
}

static int do_attach_new(struct job *job)
{
	return group_attach_new(job->keeping, job->asked->group, steal_fd(&job->fd), &job->done);
}

static int do_detach(struct job *job)
{
	return group_detach(
		job->keeping, job->asked->group, job->asked->flags & WIRE_FORCE, &job->done);
}

static int do_group_gone(struct job *job)
{
	return group_gone(job->keeping, job->asked->group, &job->done);
}

static int do_info(struct job *job)
{
	static struct wire_info info;

	memset(&info, 0, sizeof(info));
	info.header = (struct wire_header){ WIRE_INFO, sizeof(info) };
	job->done.container = job->asked->container;
	int r = container_info(job->keeping, job->asked->container, &info);
	if (r == 0)
		job->info = &info;
	return r;
}

static int do_get_device(struct job *job)
{
	int fd = group_get_device(job->keeping, job->asked->group, job->asked->name);
	if (fd < 0)
		return fd;
	job->answer_fd = fd;
	job->closes_answer_fd = true;
	return 0;
}

static int do_audit(struct job *job)
{
	struct mapping *mapping = job_mapping(job);

	if (!mapping || mapping->part.n_runs == 0)
		return -ENOENT;
	return mapping_compare(job->keeping, mapping, &job->done.n_pages);
}

static int do_reset(struct job *job)
{
	return group_reset(job->keeping, job->asked->group, job->asked->name,
		job->asked->flags & WIRE_BUS, &job->done);
}

static int do_book(struct job *job)
{
	const struct book_part part = {
		.offset = job->asked->book_offset,
		.n_runs = job->asked->n_runs,
	};
	return send_part(job, &part);
}

static int do_list(struct job *job)
{
	return serve_list(job->socket, job->keeping, &job->done.size);
}

static const struct {
	int (*run)(struct job *job);
	int n_fds;
} requests[WIRE_TYPE_MAX_] = {
	[WIRE_START] = { do_start, 1 },
	[WIRE_ADD_MEMORY] = { do_add_memory, 1 },
	[WIRE_REMOVE_MEMORY] = { do_remove_memory, 0 },
	[WIRE_GIVE_MEMORY] = { do_give_memory, 0 },
	[WIRE_PREPARE] = { do_prepare, 0 },
	[WIRE_READ] = { do_read, 0 },
	[WIRE_MAP] = { do_map, 0 },
	[WIRE_UNMAP] = { do_unmap, 0 },
	[WIRE_ATTACH] = { do_attach, 1 },
	[WIRE_ATTACH_NEW] = { do_attach_new, 1 },
	[WIRE_DETACH] = { do_detach, 0 },
	[WIRE_GROUP_GONE] = { do_group_gone, 0 },
	[WIRE_INFO] = { do_info, 0 },
	[WIRE_GET_DEVICE] = { do_get_device, 0 },
	[WIRE_AUDIT] = { do_audit, 0 },
	[WIRE_RESET] = { do_reset, 0 },
	[WIRE_BOOK] = { do_book, 0 },
	[WIRE_LIST] = { do_list, 0 },
	[WIRE_MEMBER] = { do_member, 0 },
};

static int keeper_fds(uint32_t type)
{
	if (type == WIRE_SYNC)
		return 0;
	return type < ARRAY_SIZE(requests) && requests[type].run ? requests[type].n_fds : -1;
}

/* One that opens its containers itself, in a context. */
static int opener_fds(uint32_t type)
{
	if (type == WIRE_START)
		return 2;
	return type == WIRE_ATTACH_NEW ? 0 : keeper_fds(type);
}

/* To a new daemon: with what it got before this, it has nothing to do. */
static int answer_sync(int socket, const struct keeping *keeping, const struct wire_sync *sync)
{
	const struct wire_state state = {
		.header = { WIRE_STATE, sizeof(state) },
		.nonce = sync->nonce,
		.version = WIRE_VERSION,
		.page_bytes = (uint32_t)page_bytes(),
		.has_book = keeping->book.fd >= 0,
	};
	return wire_send(socket, &state, NULL, 0, 0);
}

static int answer(struct job *job)
{
	int r = serve_done(job->socket, &job->done, job->answer_fd);
	if (r == 0 && job->info)
		r = wire_send(job->socket, job->info, NULL, 0, 0);
	if (job->closes_answer_fd)
		close(job->answer_fd);
	return r;
}

int serve_keeper(int socket, struct keeping *keeping)
{
	static struct request request;
	request_fds n_fds = keeping->backend->is_iommufd ? opener_fds : keeper_fds;
	int r;

	while ((r = serve_receive(socket, &request, n_fds)) > 0) {
		uint32_t type = request.message.header.type;
		if (type == WIRE_SYNC) {
			r = answer_sync(socket, keeping, &request.message.sync);
			if (r < 0)
				break;
			continue;
		}
		struct job job = {
			.socket = socket,
			.keeping = keeping,
			.asked = &request.message.request,
			.fd = n_fds(type) > 0 ? request.fds[0] : -1,
			.context = n_fds(type) > 1 ? request.fds[1] : -1,
			.answer_fd = -1,
		};
		job.done.result = requests[type].run(&job);
		if (job.fd >= 0)
			close(job.fd);
		if (job.context >= 0)
			close(job.context);
		r = answer(&job);
		if (r < 0)
			break;
	}
	return r;
}
