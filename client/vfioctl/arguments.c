/* CMD's arguments: in which mode they want what is acquired, and with its descriptors' numbers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/run.h"

static const char nothing_acquired[] = "; nothing was acquired\n";
/* With --any it is known only then what there is. */
static const char goes_back[] = "; what was acquired goes back\n";

int run_mode_parse(const char *text, enum run_mode *mode)
{
	static const char *const names[] = {
		[RUN_AUTO] = "auto", [RUN_GROUP] = "group", [RUN_CDEV] = "cdev"
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(text, names[i]) == 0) {
			*mode = (enum run_mode)i;
			return 0;
		}
	return -EINVAL;
}

/* The first placeholder of this kind in CMD's arguments, for a message: printable, or "". */
static void placeholder_first(
	int argc, char *const argv[], enum placeholder kind, char *buffer, size_t size)
{
	buffer[0] = '\0';
	for (int i = 1; i < argc; i++)
		for (const char *text = argv[i]; *text; text++) {
			char found[128];
			size_t length;

			if (placeholder_at(text, &length) != kind)
				continue;
			snprintf(found, sizeof found, "%.*s", (int)length, text);
			format_printable(found, buffer, size);
			return;
		}
}

int run_mode_choose(int argc, char *const argv[], enum run_mode *mode)
{
	char group[128], device[128];

	placeholder_first(argc, argv, PLACEHOLDER_GROUP, group, sizeof group);
	placeholder_first(argc, argv, PLACEHOLDER_DEVICE, device, sizeof device);
	if (!*device)
		placeholder_first(argc, argv, PLACEHOLDER_IOMMUFD, device, sizeof device);
	if (*group && *device)
		fprintf(stderr,
			"vfioctl run: %s and %s: CMD has either groups or devices with an "
			"iommufd%s",
			group, device, nothing_acquired);
	else if (*group && *mode == RUN_CDEV)
		fprintf(stderr,
			"vfioctl run: %s: with --mode cdev there are {device:NAME} and {iommufd}, "
			"and no groups%s",
			group, nothing_acquired);
	else if (*device && *mode == RUN_GROUP)
		fprintf(stderr, "vfioctl run: %s: with --mode group there is only {group:NAME}%s",
			device, nothing_acquired);
	else {
		*mode = *group ? RUN_GROUP : *device ? RUN_CDEV : *mode;
		return 0;
	}
	return EXIT_RUN_FAILED;
}

/* What is as the one that is wrong, and means something: "{group:7}, {group:13}". */
static void choices_print(const struct run_groups *groups, const char *wrong, bool is_of_groups)
{
	int length = (int)strcspn(wrong, ":}");
	const char *separator = "";

	for (size_t i = 0; is_of_groups && i < groups->n; i++, separator = ",")
		fprintf(stderr, "%s %.*s:%d}", separator, length, wrong, groups->groups[i].number);
	for (size_t i = 0; !is_of_groups && i < groups->n_devices; i++, separator = ",") {
		char name[256];

		format_printable(groups->devices[i].name, name, sizeof name);
		fprintf(stderr, "%s %.*s:%s}", separator, length, wrong, name);
	}
}

static bool is_of_descriptors(enum placeholder kind)
{
	return kind == PLACEHOLDER_GROUP || kind == PLACEHOLDER_DEVICE ||
	       kind == PLACEHOLDER_IOMMUFD;
}

/* The first placeholder that stands for one. False: there is none. */
static bool descriptor_named(const char *argument, char *name, size_t size)
{
	for (size_t length; *argument; argument++)
		if (is_of_descriptors(placeholder_at(argument, &length))) {
			snprintf(name, size, "%.*s", (int)length, argument);
			return true;
		}
	return false;
}

static int placeholder_complain(const struct run_groups *groups, const char *wrong, bool is_shim)
{
	size_t length;
	enum placeholder kind = placeholder_at(wrong, &length);
	bool is_of_groups = kind == PLACEHOLDER_GROUP || kind == PLACEHOLDER_GROUP_NUMBER;
	bool is_bare = !strchr(wrong, ':') && strchr(wrong, '}') && kind != PLACEHOLDER_IOMMUFD;
	char printable[128];

	format_printable(wrong, printable, sizeof printable);
	fprintf(stderr, "vfioctl run: %s: ", printable);
	if (is_shim && is_of_descriptors(kind)) {
		fputs("with --shim CMD has no descriptors to be named; {group-number} and "
		      "{device-name} are what it opens by itself",
			stderr);
	} else if (is_bare && (is_of_groups || groups->n_devices > 0)) {
		fputs("ambiguous: name one of", stderr);
		choices_print(groups, wrong, is_of_groups);
	} else if (is_of_groups) {
		fputs("none of the groups to be acquired", stderr);
	} else if (groups->n_devices == 0) {
		fputs(kind == PLACEHOLDER_DEVICE_NAME
				? "none of the lease's devices"
				: "the groups have no device that is handed over",
			stderr);
	} else {
		/* A name may be of any device of the lease: with --shim none is handed over. */
		fputs(kind == PLACEHOLDER_DEVICE_NAME ? "none of the lease's devices:"
						      : "none of the devices that are handed over:",
			stderr);
		choices_print(groups, wrong, false);
	}
	fputs(groups->n_any > 0 && groups->n > 0 ? goes_back : nothing_acquired, stderr);
	return EXIT_RUN_FAILED;
}

int arguments_expand(
	const struct run_groups *groups, bool is_shim, int argc, char *argv[], char **expanded)
{
	for (int i = 0; i < argc; i++) {
		char wrong[128] = "";
		int r = 0;

		if (i == 0)
			expanded[i] = strdup(argv[i]);
		else if (is_shim && descriptor_named(argv[i], wrong, sizeof wrong))
			r = -EINVAL;
		else
			r = placeholders_expand(groups, argv[i], &expanded[i], wrong, sizeof wrong);
		if (r == -EINVAL)
			return placeholder_complain(groups, wrong, is_shim);
		if (!expanded[i])
			return run_out_of_memory();
	}
	return 0;
}
