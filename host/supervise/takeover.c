/* Another program, or another process of the service, on the same sockets. */
#include "notify.h"
#include "supervisor.h"
#include "upgrade.h"
#include "host/base/base.h"

#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <sys/wait.h>

void takeover_begin(struct supervisor *s)
{
	pid_t pid;

	if (s->phase != PHASE_READY || s->upgrade)
		return;
	pid = upgrade_check();
	if (pid < 0)
		log_write(LOG_LEVEL_ERROR, "cannot start %s: %s", upgrade_path(), strerror(-pid));
	s->upgrade = pid > 0 ? pid : 0;
	s->upgrade_at = clock_ms();
}

/* As long as a script that is loaded anew. */
void takeover_look(struct supervisor *s)
{
	int64_t limit = limits_handover_ms(s->options->time_limit_ms) + 2 * s->queues.of[0].load_ms;

	if (!s->upgrade || !s->options->time_limit_ms || clock_ms() - s->upgrade_at < limit)
		return;
	log_write(LOG_LEVEL_ERROR, "%s --check has taken %.1f s; it is ended (--time-limit)",
		  upgrade_path(), (double)(clock_ms() - s->upgrade_at) / 1000);
	s->upgrade_at = clock_ms();
	kill(s->upgrade, SIGKILL);
}

void takeover_reap(struct supervisor *s)
{
	int status;

	if (!s->upgrade || waitpid(s->upgrade, &status, WNOHANG) != s->upgrade)
		return;
	s->upgrade = 0;
	/* It was asked to end meanwhile. */
	if (is_ending(s))
		return;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EX_OK) {
		log_write(LOG_LEVEL_ERROR,
			  "%s cannot take over (status %d): the program that runs goes on",
			  upgrade_path(), WIFEXITED(status) ? WEXITSTATUS(status) : -1);
		return;
	}
	crew_end(s, PHASE_UPGRADING);
}

void takeover_exec(struct supervisor *s)
{
	struct inheritance inheritance = {0};
	int ret;

	FOR_EACH_QUEUE (s, queue) {
		inherit_add(&inheritance, ipq_queue_fd(queue->socket), INHERIT_QUEUE, queue->num);
		inherit_add(&inheritance, queue->flows.fd, INHERIT_FLOWS, queue->num);
		inherit_add(&inheritance, queue->streams.fd, INHERIT_STREAMS, queue->num);
	}
	inherit_add(&inheritance, s->queues.shared.fd, INHERIT_SHARED, 0);
	log_write(LOG_LEVEL_INFO, "%s takes over", upgrade_path());
	writers_end(&s->queues.writers);
	ret = inherit_exec(&inheritance, upgrade_path(), upgrade_argv());
	log_write(LOG_LEVEL_ERROR, "cannot start %s: %s", upgrade_path(), strerror(-ret));
	if (s->code == EX_OK)
		s->code = EX_OSERR;
}

static void store(int fd, enum inherit_kind kind, uint16_t queue_num)
{
	const struct inherited inherited = {fd, kind, queue_num};
	char name[16];

	inherit_name(&inherited, name, sizeof(name));
	notify_store(fd, name);
}

static void store_region(const struct region *region, enum inherit_kind kind, uint16_t queue_num)
{
	if (region->fd >= 0 && (!region->is_inherited || region->has_refused))
		store(region->fd, kind, queue_num);
}

void takeover_store(struct supervisor *s)
{
	if (!notify_can_store())
		return;
	FOR_EACH_QUEUE (s, queue) {
		if (!queue->is_adopted || queue->has_refused)
			store(ipq_queue_fd(queue->socket), INHERIT_QUEUE, queue->num);
		store_region(&queue->flows, INHERIT_FLOWS, queue->num);
		store_region(&queue->streams, INHERIT_STREAMS, queue->num);
	}
	store_region(&s->queues.shared, INHERIT_SHARED, 0);
}
