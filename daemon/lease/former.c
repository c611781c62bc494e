/* uthash would call exit() without memory; so it leaves the element out, with no table. */
#define HASH_NONFATAL_OOM 1
#include "daemon/lease/former.h"

#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/base/util.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_SIZE (sizeof(((struct device *)NULL)->bus) + DEVICE_NAME_SIZE)
#define UID_UNKNOWN ((uid_t)-1)

struct former {
	TAILQ_ENTRY(former) of_book;
	UT_hash_handle in_table;
	char name[NAME_SIZE]; /* "pci:0000:01:00.0": also that of the file */
	uid_t uid;
	ino_t inode; /* 0 = unknown: any */
	bool has_node;
};

static int file_path(char path[PATH_MAX], const struct former_book *book, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", book->directory, name);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Each lease asks for it several times. */
static void name_of(const struct device *device, char name[NAME_SIZE])
{
	const char *end = name + NAME_SIZE;

	/* For the analyzer, who does not look into text_put(). */
	memset(name, 0, NAME_SIZE);
	text_put(text_put(text_put(name, end, device->bus), end, ":"), end, device->name);
}

/* A function's size here is uthash's macros.
 * NOLINTBEGIN(readability-function-size) */

static struct former *former_by_name(const struct former_book *book, const char *name)
{
	struct former *former;

	HASH_FIND(in_table, book->by_name, name, strlen(name), former);
	return former;
}

static bool former_add(struct former_book *book, struct former *former)
{
	HASH_ADD_KEYPTR(in_table, book->by_name, former->name, strlen(former->name), former);
	if (!former->in_table.tbl)
		return false;
	TAILQ_INSERT_TAIL(&book->formers, former, of_book);
	return true;
}

/* NOLINTEND(readability-function-size) */

/* Finds or makes. NULL: no memory. */
static struct former *former_get(struct former_book *book, const char *name)
{
	struct former *former = former_by_name(book, name);

	if (former)
		return former;
	former = calloc(1, sizeof(*former));
	if (!former)
		return NULL;
	*former = (struct former){ .uid = UID_UNKNOWN };
	snprintf(former->name, sizeof(former->name), "%s", name);
	if (former_add(book, former))
		return former;
	free(former);
	return NULL;
}

/* "1000 4711", "1000 4711 node": false if it is not so to the last character. */
static bool parse(const char *text, uintmax_t *uid, uintmax_t *inode, bool *has_node)
{
	char *end;

	errno = 0;
	*uid = strtoumax(text, &end, 10);
	if (errno || end == text || *end != ' ' || *uid > UINT32_MAX)
		return false;
	text = end + 1;
	*inode = strtoumax(text, &end, 10);
	*has_node = strcmp(end, " node") == 0;
	return errno == 0 && end != text && (*end == '\0' || *has_node);
}

static void former_read(const struct former_book *book, struct former *former)
{
	char path[PATH_MAX], text[64];
	uintmax_t uid, inode;
	bool has_node;

	if (file_path(path, book, former->name) == 0 && file_read(path, text, sizeof(text)) >= 0 &&
		parse(text, &uid, &inode, &has_node)) {
		former->uid = (uid_t)uid;
		former->inode = (ino_t)inode;
		former->has_node = has_node;
	} else {
		log_warning("%s/%s cannot be understood: until it is removed, %s counts as lent to "
			    "somebody else before",
			book->directory, former->name, former->name);
	}
}

static int read_all(struct former_book *book)
{
	const struct dirent *entry;
	int r = 0;

	DIR *directory = opendir(book->directory);
	if (!directory)
		return -errno;
	while (r == 0 && (errno = 0, entry = readdir(directory))) {
		size_t length = strlen(entry->d_name);
		/* What a write left that did not come to its end (file_write_atomic) is none. */
		bool is_left = length > 4 && strcmp(entry->d_name + length - 4, ".new") == 0;
		if (entry->d_name[0] == '.' || is_left || length >= NAME_SIZE)
			continue;
		struct former *former = former_get(book, entry->d_name);
		if (former)
			former_read(book, former);
		else
			r = -ENOMEM;
	}
	if (r == 0 && errno)
		r = -errno;
	closedir(directory);
	return r;
}

int former_book_init(struct former_book *book, const char *state_directory)
{
	*book = (struct former_book){ .directory = NULL };
	TAILQ_INIT(&book->formers);
	if (asprintf(&book->directory, "%s/former", state_directory) < 0) {
		book->directory = NULL;
		return -ENOMEM;
	}
	if (mkdir(book->directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	return read_all(book);
}

void former_book_clear(struct former_book *book)
{
	struct former *former;

	HASH_CLEAR(in_table, book->by_name);
	while ((former = TAILQ_FIRST(&book->formers))) {
		TAILQ_REMOVE(&book->formers, former, of_book);
		free(former);
	}
	free(book->directory);
	book->directory = NULL;
}

int former_note(struct former_book *book, const struct device *device, uid_t uid, bool by_node)
{
	bool has_node = by_node || former_has_node(book, device);
	char name[NAME_SIZE], path[PATH_MAX], text[64];
	uid_t before;

	/* Another lease of the same user: it stands there already. */
	if (former_find(book, device, &before) && before == uid &&
		has_node == former_has_node(book, device))
		return 0;
	name_of(device, name);
	int length = snprintf(text, sizeof(text), "%u %ju%s\n", (unsigned)uid,
		(uintmax_t)device->inode, has_node ? " node" : "");
	int r = file_path(path, book, name);
	if (r == 0)
		r = file_write_atomic(path, text, (size_t)length);
	if (r < 0)
		return r;
	struct former *former = former_get(book, name);
	if (!former)
		return -ENOMEM;
	former->uid = uid;
	former->inode = device->inode;
	former->has_node = has_node;
	return 0;
}

static const struct former *former_of(const struct former_book *book, const struct device *device)
{
	char name[NAME_SIZE];

	name_of(device, name);
	const struct former *former = former_by_name(book, name);
	return former && (former->inode == 0 || former->inode == device->inode) ? former : NULL;
}

bool former_find(const struct former_book *book, const struct device *device, uid_t *uid)
{
	const struct former *former = former_of(book, device);

	if (former)
		*uid = former->uid;
	return former;
}

bool former_has_node(const struct former_book *book, const struct device *device)
{
	const struct former *former = former_of(book, device);
	return former && former->has_node;
}
