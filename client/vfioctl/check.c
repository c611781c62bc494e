/* check: is this host ready, and is vfiod? */
#include "client/vfioctl/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "client/vfioctl/format.h"

#define CAP_IPC_LOCK 14 /* linux/capability.h: past RLIMIT_MEMLOCK */

const char *finding_level_name(enum finding_level level)
{
	static const char *const names[] = {
		[FINDING_OK] = "ok",
		[FINDING_WARNING] = "warning",
		[FINDING_PROBLEM] = "problem",
	};
	return names[level];
}

void finding_add(struct findings *findings, enum finding_level level, const char *topic,
	const char *text, const char *advice)
{
	struct finding *grown = reallocarray(findings->list, findings->n + 1, sizeof *grown);

	if (!grown) {
		findings->is_short = true;
		return;
	}
	findings->list = grown;
	grown += findings->n;
	*grown = (struct finding){
		.level = level,
		.topic = topic,
		.text = strdup(text),
		.advice = advice ? strdup(advice) : NULL,
	};
	if (!grown->text || (advice && !grown->advice)) {
		free(grown->text);
		free(grown->advice);
		findings->is_short = true;
		return;
	}
	findings->n++;
}

void findings_clear(struct findings *findings)
{
	for (size_t i = 0; i < findings->n; i++) {
		free(findings->list[i].text);
		free(findings->list[i].advice);
	}
	free(findings->list);
	*findings = (struct findings){ 0 };
}

static bool has_capability(int capability)
{
	unsigned long long effective = 0;
	char *line = NULL;
	size_t size = 0;
	FILE *file = fopen("/proc/self/status", "re");

	while (file && getline(&line, &size, file) >= 0)
		if (strncmp(line, "CapEff:", 7) == 0)
			effective = strtoull(line + 7, NULL, 16);
	free(line);
	if (file)
		fclose(file);
	return effective >> capability & 1;
}

static uint64_t memlock_limit(void)
{
	struct rlimit limit;

	if (has_capability(CAP_IPC_LOCK) || getrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
		limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

static void finding_print(struct context *context, const struct finding *finding)
{
	static const char *const marks[] = {
		[FINDING_OK] = "ok",
		[FINDING_WARNING] = "warn",
		[FINDING_PROBLEM] = "PROBLEM",
	};
	const size_t indent = 9; /* of the marks */
	char first[64];

	snprintf(first, sizeof first, "%-*s%s: ", (int)indent, marks[finding->level],
		finding->topic);
	text_print(context, first, indent, finding->text);
	if (finding->advice) {
		snprintf(first, sizeof first, "%*s", (int)indent, "");
		text_print(context, first, indent, finding->advice);
	}
}

static size_t count(const struct findings *findings, enum finding_level level)
{
	size_t n = 0;

	for (size_t i = 0; i < findings->n; i++)
		n += findings->list[i].level == level;
	return n;
}

static void findings_print(struct context *context, const struct findings *findings)
{
	size_t n_problems = count(findings, FINDING_PROBLEM);
	size_t n_warnings = count(findings, FINDING_WARNING);

	for (size_t i = 0; i < findings->n; i++)
		finding_print(context, &findings->list[i]);
	if (!context->has_legend)
		return;
	if (n_problems + n_warnings == 0)
		fputs("All is well.\n", context->out);
	else
		fprintf(context->out, "%zu problem%s, %zu warning%s\n", n_problems,
			n_problems == 1 ? "" : "s", n_warnings, n_warnings == 1 ? "" : "s");
}

static bool put(struct json_object *object, const char *key, const char *text)
{
	struct json_object *value = text ? json_object_new_string(text) : NULL;

	if ((value || !text) && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool findings_json_print(struct context *context, const struct findings *findings)
{
	struct json_object *json = json_object_new_object(), *list = json_object_new_array();
	bool is_whole = json && list;

	for (size_t i = 0; is_whole && i < findings->n; i++) {
		const struct finding *finding = &findings->list[i];
		struct json_object *object = json_object_new_object();

		is_whole = object && put(object, "level", finding_level_name(finding->level)) &&
			   put(object, "topic", finding->topic) &&
			   put(object, "text", finding->text) &&
			   put(object, "advice", finding->advice) &&
			   json_object_array_add(list, object) == 0;
		if (!is_whole)
			json_object_put(object);
	}
	if (is_whole && json_object_object_add(json, "findings", list) == 0) {
		list = NULL; /* json's now */
		json_print(context, json);
	} else {
		is_whole = false;
	}
	json_object_put(list);
	json_object_put(json);
	return is_whole;
}

static int check_run(struct context *context, int argc, char *argv[])
{
	struct findings findings = { 0 };
	struct utsname kernel;
	struct host host = { .root = "", .memlock_bytes = memlock_limit() };
	int exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (optind < argc)
		return usage_error(context, "no arguments");
	host.release = uname(&kernel) == 0 ? kernel.release : "?";
	check_host(&findings, &host);
	check_daemon(&findings, context);
	if (!context->is_json)
		findings_print(context, &findings);
	else if (!findings_json_print(context, &findings))
		findings.is_short = true;
	if (findings.is_short)
		fputs("vfioctl: out of memory: some lines are missing\n", stderr);
	exit_code = findings.is_short || count(&findings, FINDING_PROBLEM) > 0 ? EXIT_REFUSED
									       : EXIT_SUCCESS;
	findings_clear(&findings);
	return exit_code;
}

const struct command command_check = {
	.name = "check",
	.arguments = "",
	.summary = "Say whether this host is ready for VFIO, and what to do if not",
	.help = "Looks at the IOMMU, interrupt remapping, modules, /dev/vfio, udev, your limit\n"
		"of locked memory; then at vfiod, its configuration, rules that match nothing,\n"
		"and groups that they cover in part. Each line is ok, warn or PROBLEM, and says\n"
		"what to do. Works without vfiod, and for everybody.\n"
		"Exit status: 0 no problem, 1 a problem.\n"
		"\n"
		"Examples:\n"
		"  vfioctl check\n"
		"  vfioctl check --json | jq '.findings[] | select(.level != \"ok\")'\n",
	.run = check_run,
};
