#include "client/vfioctl/format.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/size.h"
#include "client/vfioctl/vfioctl.h"

/* The length of the UTF-8 character at `text` that is fit to print, 0 if there is none. */
static size_t character_length(const unsigned char *text)
{
	size_t length;

	if (text[0] >= 0x20 && text[0] < 0x7f)
		return 1;
	if (text[0] >= 0xc2 && text[0] < 0xe0)
		length = 2;
	else if (text[0] >= 0xe0 && text[0] < 0xf0)
		length = 3;
	else if (text[0] >= 0xf0 && text[0] < 0xf5)
		length = 4;
	else
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	if (text[0] == 0xc2 && text[1] < 0xa0)
		return 0; /* C1: U+009B starts a control sequence */
	/* U+202A–202E, U+2066–2069 change the direction: the line would read differently. */
	if (text[0] == 0xe2 && text[1] == 0x80 && text[2] >= 0xaa && text[2] <= 0xae)
		return 0;
	if (text[0] == 0xe2 && text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9)
		return 0;
	return length;
}

void format_printable(const char *text, char *buffer, size_t size)
{
	size_t used = 0;

	while (*text) {
		size_t length = character_length((const unsigned char *)text);
		size_t written = length ? length : 1;

		if (used + written >= size)
			break;
		if (length)
			memcpy(buffer + used, text, length);
		else
			buffer[used] = '?';
		used += written;
		text += written;
	}
	buffer[used] = '\0';
}

void format_duration(int64_t seconds, char *buffer, size_t size)
{
	const int64_t minute = 60, hour = 60 * minute, day = 24 * hour;

	if (seconds < 0)
		seconds = 0;
	if (seconds >= day)
		snprintf(buffer, size, "%lld day%s", (long long)(seconds / day),
			seconds / day == 1 ? "" : "s");
	else if (seconds >= hour)
		snprintf(buffer, size, "%lld h", (long long)(seconds / hour));
	else if (seconds >= minute)
		snprintf(buffer, size, "%lld min", (long long)(seconds / minute));
	else
		snprintf(buffer, size, "%lld s", (long long)seconds);
}

void format_amount(int64_t bytes, int64_t limit, char *buffer, size_t size)
{
	char amount[SIZE_TEXT], most[SIZE_TEXT];
	char *unit, *its_unit;

	size_describe(bytes > 0 ? (uint64_t)bytes : 0, amount, sizeof amount);
	if (limit < 0) {
		snprintf(buffer, size, "%s", amount);
		return;
	}
	size_describe((uint64_t)limit, most, sizeof most);
	unit = strchr(amount, ' ');
	its_unit = strchr(most, ' ');
	if (strcmp(unit, its_unit) == 0 || bytes == 0)
		*unit = '\0';
	snprintf(buffer, size, "%s of %s", amount, most);
}

void format_user(uid_t uid, char *buffer, size_t size)
{
	char strings[4096];
	struct passwd entry, *found = NULL;

	if (getpwuid_r(uid, &entry, strings, sizeof strings, &found) == 0 && found)
		format_printable(found->pw_name, buffer, size);
	else
		snprintf(buffer, size, "%lu", (unsigned long)uid);
}

void format_holder(struct json_object *holder, char *buffer, size_t size)
{
	char user[64], command[64];
	const char *name;

	buffer[0] = '\0';
	if (!holder)
		return;
	name = get_string(holder, "command");
	format_user((uid_t)get_int(holder, "uid", -1), user, sizeof user);
	format_printable(name ? name : "?", command, sizeof command);
	snprintf(buffer, size, "%s %s/%lld", user, command, (long long)get_int(holder, "pid", 0));
}

void format_numbers(struct json_object *array, char *buffer, size_t size)
{
	size_t used = 0;

	buffer[0] = '\0';
	if (!json_object_is_type(array, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(array) && used < size; i++) {
		int n = snprintf(buffer + used, size - used, "%s%lld", i ? "," : "",
			(long long)json_object_get_int64(json_object_array_get_idx(array, i)));

		used += n > 0 ? (size_t)n : 0;
	}
}

bool format_is_noiommu(struct json_object *group)
{
	const char *type = get_string(group, "type");
	return type && strcmp(type, "noiommu") == 0;
}

const char *format_group_state(struct json_object *group)
{
	const char *binding = get_string(group, "binding"), *owner = get_string(group, "owner");

	if (!binding)
		binding = "?";
	if (strcmp(binding, "host") != 0 && strcmp(binding, "taken") != 0)
		return binding; /* something is going on or wrong: that comes first */
	return owner && strcmp(owner, "none") != 0 ? owner : binding;
}

bool format_mdev(struct json_object *device, char *buffer, size_t size)
{
	const char *type = get_string(device, "mdevType"), *parent = get_string(device, "parent");

	if (parent)
		snprintf(buffer, size, "%s of %s", type ? type : "mdev", parent);
	return parent;
}

size_t format_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		if (((unsigned char)*text & 0xc0) != 0x80)
			width++;
	return width;
}

size_t format_terminal_width(int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
		return size.ws_col;
	return 80;
}

void format_wrapped(FILE *out, const char *first, size_t indent, size_t width, const char *text)
{
	size_t column = format_width(first);
	bool at_start = true;

	fputs(first, out);
	while (*text) {
		char word[512];
		size_t length = strcspn(text, " \n"), taken;

		taken = length < sizeof word ? length : sizeof word - 1;
		memcpy(word, text, taken);
		word[taken] = '\0';
		text += taken;
		while (*text == ' ' || *text == '\n')
			text++;
		if (!at_start && column + 1 + format_width(word) > width) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
			at_start = true;
		}
		fprintf(out, "%s%s", at_start ? "" : " ", word);
		column += format_width(word) + !at_start;
		at_start = false;
	}
	fputc('\n', out);
}
