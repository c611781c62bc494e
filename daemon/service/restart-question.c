#include "daemon/service/restart-question.h"

#include "daemon/base/errand.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define SYSTEMD "org.freedesktop.systemd1"
#define PRIVATE_SOCKET "/run/systemd/private"
/* `systemctl stop` waits for us meanwhile. */
static const double ANSWER_SECONDS = 3;

bool restart_is_meant(const char *job_type, const char *restart_setting)
{
	/*
	 * A signal that a person sent: what Restart=always starts again has not been stopped.
	 * try-restart is a restart by the time it runs (systemd, core/job.c, job_type_collapse).
	 */
	if (!*job_type)
		return strcmp(restart_setting, "always") == 0;
	return strcmp(job_type, "restart") == 0;
}

/* --- in the child -------------------------------------------------------------------------- */

static int connect_systemd(sd_bus **bus)
{
	int r = sd_bus_new(bus);
	if (r >= 0)
		r = sd_bus_set_address(*bus, "unix:path=" PRIVATE_SOCKET);
	if (r >= 0)
		r = sd_bus_start(*bus);
	return r;
}

/* The unit of a process: its object's path, the caller's to free. */
static int find_unit(sd_bus *bus, uint32_t pid, char **unit)
{
	sd_bus_message *reply = NULL;
	const char *path;

	int r = sd_bus_call_method(bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager",
		"GetUnitByPID", NULL, &reply, "u", pid);
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	if (r >= 0)
		r = (*unit = strdup(path)) ? 0 : -ENOMEM;
	sd_bus_message_unref(reply);
	return r;
}

/* *type: "" if the unit has no job. */
static int read_job(sd_bus *bus, const char *unit, char **type)
{
	sd_bus_message *reply = NULL;
	const char *job;
	uint32_t id;

	int r = sd_bus_get_property(
		bus, SYSTEMD, unit, SYSTEMD ".Unit", "Job", NULL, &reply, "(uo)");
	if (r >= 0)
		r = sd_bus_message_read(reply, "(uo)", &id, &job);
	if (r >= 0 && id != 0)
		r = sd_bus_get_property_string(
			bus, SYSTEMD, job, SYSTEMD ".Job", "JobType", NULL, type);
	else if (r >= 0)
		r = (*type = strdup("")) ? 0 : -ENOMEM;
	sd_bus_message_unref(reply);
	return r;
}

static int ask(FILE *answer, void *userdata)
{
	_cleanup_free_ char *unit = NULL, *type = NULL, *setting = NULL;
	const pid_t *pid = userdata;
	sd_bus *bus = NULL;

	(void)answer;
	int r = connect_systemd(&bus);
	if (r >= 0)
		r = find_unit(bus, (uint32_t)*pid, &unit);
	if (r >= 0)
		r = read_job(bus, unit, &type);
	if (r >= 0)
		r = sd_bus_get_property_string(
			bus, SYSTEMD, unit, SYSTEMD ".Service", "Restart", NULL, &setting);
	if (r >= 0)
		r = restart_is_meant(type, setting);
	sd_bus_unref(bus);
	return r;
}

/* --- on the loop ----------------------------------------------------------------------------- */

static void on_answer(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	(void)answer;
	(void)length;
	struct restart_question *question = userdata;

	errand_free(errand);
	question->errand = NULL;
	if (result < 0)
		log_warning("systemd does not say whether this is a restart (%s): it counts as a "
			    "stop",
			strerror(-result));
	question->answered(result > 0, question->userdata);
}

void restart_ask(struct restart_question *question, struct ev_loop *loop, restart_answered answered,
	void *userdata)
{
	pid_t pid = getpid();

	question->answered = answered;
	question->userdata = userdata;
	/* Whoever starts us as a service wants to be notified; others have no job for us. */
	if (!getenv("NOTIFY_SOCKET") || access(PRIVATE_SOCKET, F_OK) < 0) {
		answered(false, userdata);
		return;
	}
	int r = errand_new(loop, "vfiod-ask", ask, &pid, ANSWER_SECONDS, on_answer, question,
		&question->errand);
	if (r < 0) {
		log_warning(
			"systemd cannot be asked whether this is a restart (%s): it counts as a "
			"stop",
			strerror(-r));
		answered(false, userdata);
	}
}

void restart_forget(struct restart_question *question)
{
	question->errand = errand_free(question->errand);
}
