#include "daemon/keeper/serve.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <stddef.h>

int serve_hello(int socket)
{
	const struct wire_hello hello = {
		.header = { WIRE_HELLO, sizeof(hello) },
		.version = WIRE_VERSION,
		.page_bytes = (uint32_t)page_bytes(),
	};
	return wire_send(socket, &hello, NULL, 0, 0);
}

int serve_receive(int socket, struct request *request, request_fds n_fds)
{
	size_t n;
	ssize_t r = wire_receive(socket, &request->message, request->fds, &n, 0);
	if (r <= 0)
		return (int)r;
	uint32_t type = request->message.header.type;
	size_t size = type == WIRE_SYNC ? sizeof(request->message.sync)
					: sizeof(request->message.request);
	if ((size_t)r == size && n_fds(type) == (int)n)
		return 1;
	for (; n > 0; n--)
		close(request->fds[n - 1]);
	return -EBADMSG;
}

int serve_done(int socket, struct wire_done *done, int fd)
{
	done->header = (struct wire_header){ WIRE_DONE, sizeof(*done) };
	return wire_send(socket, done, &fd, fd >= 0, 0);
}

int serve_runs(int socket, int book, uint64_t offset, uint64_t n_runs)
{
	static struct wire_runs runs;

	while (n_runs > 0) {
		size_t n = n_runs < WIRE_RUNS_MAX ? (size_t)n_runs : WIRE_RUNS_MAX;
		int r = book_read(book, offset, runs.runs, n);
		if (r < 0)
			return r;
		runs.header.type = WIRE_RUNS;
		runs.header.length =
			(uint32_t)(offsetof(struct wire_runs, runs) + n * sizeof(frame_run));
		runs.book_offset = offset;
		r = wire_send(socket, &runs, NULL, 0, 0);
		if (r < 0)
			return r;
		offset += n * sizeof(frame_run);
		n_runs -= n;
	}
	return 0;
}

static int book_fds(uint32_t type)
{
	if (type == WIRE_START)
		return 1;
	return type == WIRE_BOOK || type == WIRE_LIST ? 0 : -1;
}

int serve_book(int socket)
{
	static struct request request;
	int book = -1, r;

	while ((r = serve_receive(socket, &request, book_fds)) > 0) {
		const struct wire_request *asked = &request.message.request;
		struct wire_done done = { .n_runs = asked->n_runs };

		if (asked->header.type == WIRE_START) {
			if (book >= 0)
				close(book);
			book = request.fds[0];
		} else if (asked->header.type == WIRE_LIST) {
			r = serve_list_of_book(socket, book, &done.size);
			done.result = r;
		} else {
			/* An error, after the runs that there are. */
			r = serve_runs(socket, book, asked->book_offset, asked->n_runs);
			done.result = r;
		}
		if (r < 0 && r != -EIO && r != -EBADF)
			break;
		r = serve_done(socket, &done, -1);
		if (r < 0)
			break;
	}
	if (book >= 0)
		close(book);
	return r;
}
