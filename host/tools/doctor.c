#include "tools.h"
#include "host/base/finding.h"
#include "host/judge/edits.h"
#include "host/judge/landlock.h"
#include "host/judge/session.h"
#include "host/rules/rule_findings.h"
#include "host/rules/trial.h"
#include "bindings/explain.h"
#include "lib/packet/packet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <sys/socket.h>

/* A number that /proc has behind a word: of "NoNewPrivs:", for one. -1: it has none. */
static long number_of(const char *path, const char *word)
{
	FILE *file = fopen(path, "re");
	size_t len = strlen(word);
	long number = -1;
	char line[512];

	while (file && number < 0 && fgets(line, sizeof(line), file))
		if (strncmp(line, word, len) == 0)
			(void)sscanf(line + len, "%ld", &number);
	if (file)
		fclose(file);
	return number;
}

static void permission_check(struct findings *findings)
{
	const char *reason = ipq_explain_permission();

	if (!reason) {
		finding(findings, FINDING_OK, "permission: CAP_NET_ADMIN");
		return;
	}
	finding(findings, FINDING_PROBLEM,
		"permission: %s: sudo ipq-lua, or setcap cap_net_admin+ep it, without --rule, "
		"which needs root; \"unshare -Urn\" is a network of one's own to try it in",
		reason);
	if (number_of("/proc/self/status", "NoNewPrivs:") > 0)
		finding(findings, FINDING_WARNING,
			"permission: no_new_privs is set: sudo and setcap have no effect here; "
			"start "
			"it from outside (systemd: NoNewPrivileges=no, docker: without "
			"no-new-privileges)");
}

static void sandbox_check(struct findings *findings)
{
	int version = landlock_version();

	if (version >= LANDLOCK_TRUNCATES)
		finding(findings, FINDING_OK,
			"sandbox: Landlock keeps workers from writing files, but below --writable");
	else if (version != LANDLOCK_NONE)
		finding(findings, FINDING_OK,
			"sandbox: Landlock keeps workers from writing files, but below --writable; "
			"they cut none off, for which Linux 6.2 is needed");
	else
		finding(findings, FINDING_WARNING,
			"sandbox: this kernel has no Landlock, and a worker may write the files of "
			"its user; give it --user, or take Linux 5.13 with lsm=landlock");
}

static bool is_of_seccomp(int error)
{
	return (error == -EPERM || error == -EACCES || error == -ENOSYS) &&
	       number_of("/proc/self/status", "Seccomp:") > 0;
}

/* What an own socket says. Gives a queue that nobody has, or NULL with the reason. */
static struct ipq_queue *probe(const struct ipq_queue_options *wanted, int *error)
{
	struct ipq_queue_options settings = *wanted;
	struct ipq_queue *queue = NULL;

	settings.flags &= ~(uint32_t)IPQ_QUEUE_FAIL_OPEN;
	*error = ipq_queue_probe(&queue, &settings);
	return *error == 0 ? queue : NULL;
}

static void kernel_check(struct findings *findings, const struct ipq_queue *queue, int error)
{
	uint32_t flags = queue ? ipq_queue_flags(queue) : 0;
	char text[256];

	if (!queue) {
		ipq_explain_kernel(text, sizeof(text), error);
		if (is_of_seccomp(error))
			finding(findings, FINDING_PROBLEM,
				"kernel: %s; a seccomp filter keeps netlink sockets from this "
				"process: start it outside of the container or unit that has it",
				strerror(-error));
		else if (error == -EPERM)
			finding(findings, FINDING_WARNING,
				"kernel: not asked, for that needs the permission; sudo ipq-lua "
				"--doctor");
		else
			finding(findings, FINDING_PROBLEM, "kernel: %s", text);
		return;
	}
	finding(findings, FINDING_OK, "kernel: it has NFQUEUE");
	if (flags & IPQ_QUEUE_GSO)
		finding(findings, FINDING_OK, "GSO: large packets come whole");
	else
		finding(findings, FINDING_WARNING,
			"GSO: this kernel cuts large packets before it queues them, which is "
			"slower; Linux 3.10 and later need not");
	if (flags & IPQ_QUEUE_CONNTRACK)
		finding(findings, FINDING_OK, "conntrack: pkt.ct is told");
	else
		finding(findings, FINDING_WARNING,
			"conntrack: pkt.ct is nil, for this kernel does not tell it; modprobe "
			"nf_conntrack_netlink, or use one with CONFIG_NETFILTER_NETLINK_GLUE_CT");
}

static void changes_check(struct findings *findings)
{
	static const struct {
		uint32_t bit;
		int error;
	} kinds[] = {{IPQ_SET_LAYOUT, IPQ_REWRITE_LAYOUT},
		     {IPQ_SET_SEGMENTED, IPQ_REWRITE_SEGMENTS}};
	uint32_t lost;

	if (!trial_loses(&lost)) {
		/* Of what is not permitted there is a line already. */
		if (!ipq_explain_permission())
			finding(findings, FINDING_WARNING,
				"kernel: whether it takes every change to a packet could not be "
				"tried; that needs root, and iptables or nft");
	} else if (!lost) {
		finding(findings, FINDING_OK, "kernel: it takes every change to a packet");
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (lost & kinds[i].bit)
			finding(findings, FINDING_WARNING, "kernel: %s; such a change is an error",
				ipq_rewrite_strerror(kinds[i].error));
}

/* So many bytes the socket has, or would. -1: that cannot be told. */
static long rcvbuf_of(const struct ipq_queue *queue, long wanted)
{
	long most = number_of("/proc/sys/net/core/rmem_max", "");
	socklen_t size = sizeof(int);
	int doubled;

	if (queue && getsockopt(ipq_queue_fd(queue), SOL_SOCKET, SO_RCVBUF, &doubled, &size) == 0)
		return doubled / 2;
	return most < wanted ? most : wanted;
}

static void buffer_check(struct findings *findings, const struct ipq_queue_options *settings,
			 const struct ipq_queue *queue)
{
	long wanted = ipq_queue_rcvbuf(settings);
	long got = rcvbuf_of(queue, wanted);

	if (got < 0)
		return;
	if (got >= wanted)
		finding(findings, FINDING_OK, "buffer: %ld bytes, as %u packets may need", wanted,
			settings->maxlen);
	else
		finding(findings, FINDING_WARNING,
			"buffer: the socket gets %ld bytes of the %ld that %u packets may need, "
			"and some are lost before the queue is full; sysctl -w "
			"net.core.rmem_max=%ld, or a smaller --queue-maxlen",
			got, wanted, settings->maxlen, wanted);
}

static void queue_check(struct findings *findings, uint16_t queue_num)
{
	struct ipq_procfs_queue status;
	int ret = ipq_procfs_queue(queue_num, &status);
	pid_t reader = ret == 0 ? ipq_explain_reader(status.portid) : 0;
	char text[256] = "";

	if (reader)
		ipq_explain_process(reader, text, sizeof(text));
	if (ret == -ENOENT)
		finding(findings, FINDING_OK, "queue %u: it is free", queue_num);
	else if (reader && strcmp(text, "ipq-lua") == 0)
		finding(findings, FINDING_OK, "queue %u: served by ipq-lua, process %d", queue_num,
			(int)reader);
	else if (ret == 0) {
		ipq_explain_taken(text, sizeof(text), queue_num);
		finding(findings, FINDING_PROBLEM, "queue %u: %s", queue_num, text);
	} else if (ret != -EOPNOTSUPP) {
		finding(findings, FINDING_WARNING,
			"queue %u: whose it is cannot be read here (%s); run it as root", queue_num,
			strerror(-ret));
	}
}

/* For a script that edits connections. */
static void conntrack_check(struct findings *findings)
{
	switch (edits_conntrack()) {
	case EDITS_CONNTRACK_NONE:
	case EDITS_CONNTRACK_LIBERAL:
		finding(findings, FINDING_OK, "conntrack: it lets edited connections go on");
		break;
	case EDITS_CONNTRACK_IDLE:
	case EDITS_CONNTRACK_STRICT:
		finding(findings, FINDING_WARNING,
			"conntrack: it takes edited connections for invalid where it stands on "
			"both sides of the queue, as in FORWARD, if rules or NAT use it; sysctl -w "
			"net.netfilter.nf_conntrack_tcp_be_liberal=1");
		break;
	}
}

/* What is wrong with it is told by the loading. */
static void script_check(struct findings *findings, const struct options *options,
			 struct ipq_queue_options *settings, bool *edits)
{
	struct ipq_counter counters[IPQ_SCRIPT_COUNTERS_MAX] = {0};
	struct vm *vm;

	if (!options->script)
		return;
	fflush(stdout);
	vm = vm_new();
	if (vm && vm_load(vm, options, options->queue.queue_num, counters, NULL) == VM_OK) {
		finding(findings, FINDING_OK, "script: %s can be used", options->script);
		*settings = session_settings(options, vm);
		*edits = vm_edits(vm);
	} else {
		finding(findings, FINDING_PROBLEM, "script: %s cannot be used; ipq-lua --check %s",
			options->script, options->script);
	}
	vm_free(vm);
}

int doctor_run(const struct options *options)
{
	struct findings findings = {{0}};
	struct ipq_queue_options settings = options->queue;
	struct ipq_queue *queue;
	bool edits = false;
	int error = 0;

	script_check(&findings, options, &settings, &edits);
	permission_check(&findings);
	sandbox_check(&findings);
	queue = probe(&settings, &error);
	kernel_check(&findings, queue, error);
	if (edits)
		conntrack_check(&findings);
	changes_check(&findings);
	buffer_check(&findings, &settings, queue);
	ipq_queue_close(queue);
	for (unsigned int i = 0; i < options->queue_count; i++)
		queue_check(&findings, (uint16_t)(options->queue.queue_num + i));
	rule_findings_tell(&findings, options, edits);
	return findings.count[FINDING_PROBLEM] ? EX_UNAVAILABLE : EX_OK;
}
