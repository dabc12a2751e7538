#include "explain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* A netlink port is the process id of who opened it, which may be gone: its socket is looked for. 0:
 * nobody that can be seen has it. */
static unsigned long socket_of(uint32_t portid)
{
	FILE *file = fopen("/proc/net/netlink", "re");
	unsigned long inode = 0, found;
	unsigned int protocol, port;
	char line[256];

	/* Address, protocol, port, groups, memory for both directions, dump, locks, drops, inode. */
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*s %u %u %*s %*s %*s %*s %*s %*s %lu", &protocol, &port,
			   &found) == 3 &&
		    protocol == NETLINK_NETFILTER && port == portid)
			inode = found;
	if (file)
		fclose(file);
	return inode;
}

static bool has_socket(const char *pid, unsigned long inode)
{
	char path[300], wanted[64], target[64];
	struct dirent *entry;
	bool has = false;
	ssize_t len;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	folder = opendir(path);
	while (folder && !has && (entry = readdir(folder))) {
		len = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		has = strcmp(target, wanted) == 0;
	}
	if (folder)
		closedir(folder);
	return has;
}

/* When it began, in clock ticks since the boot, and who began it. 0: there is no such process. */
static uint64_t read_stat(pid_t pid, pid_t *parent)
{
	char path[64], line[1024];
	uint64_t start = 0;
	const char *at;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	/* Its name, in parentheses, may have anything in it. */
	if (fgets(line, sizeof(line), file) && (at = strrchr(line, ')')))
		(void)sscanf(at + 1,
			     " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
			     "%*d %*d %" SCNu64,
			     parent, &start);
	fclose(file);
	return start;
}

uint64_t ipq_explain_started(pid_t pid)
{
	pid_t parent;

	return read_stat(pid, &parent);
}

/* The oldest of those that have it: a supervisor before its workers. */
pid_t ipq_explain_reader(uint32_t portid)
{
	unsigned long inode = socket_of(portid);
	DIR *folder = inode ? opendir("/proc") : NULL;
	uint64_t oldest = 0;
	pid_t reader = 0, readers_parent = 0;
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10), parent = 0;
		uint64_t start;

		if (pid <= 0 || !has_socket(entry->d_name, inode))
			continue;
		start = read_stat(pid, &parent);
		if (!start) /* it has ended meanwhile */
			continue;
		/* Of two that began within a tick one may have begun the other. */
		if (!reader || start < oldest || (start == oldest && readers_parent == pid)) {
			reader = pid;
			readers_parent = parent;
			oldest = start;
		}
	}
	if (folder)
		closedir(folder);
	return reader;
}

void ipq_explain_process(pid_t pid, char *name, size_t size)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = fopen(path, "re");
	if (!file || !fgets(name, (int)size, file))
		name[0] = '\0';
	name[strcspn(name, "\n")] = '\0';
	if (file)
		fclose(file);
}

void ipq_explain_taken(char *text, size_t size, uint16_t queue_num)
{
	char owner[160] = "another program";
	struct ipq_procfs_queue status;
	char name[64] = "";
	pid_t reader;

	/* In a user namespace of one's own the kernel's list cannot be read. */
	if (ipq_procfs_queue(queue_num, &status) == 0) {
		reader = ipq_explain_reader(status.portid);
		if (reader)
			ipq_explain_process(reader, name, sizeof(name));
		if (name[0])
			snprintf(owner, sizeof(owner), "netlink port %u (process %d, \"%s\")",
				 status.portid, (int)reader, name);
		else
			snprintf(owner, sizeof(owner), "netlink port %u", status.portid);
	}
	snprintf(text, size, "it belongs to %s; stop that program or choose another queue number",
		 owner);
}

/* Whether our capabilities count in this network namespace: it must belong to our user namespace.
 */
static bool owns_network_namespace(void)
{
	int network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int owner = network < 0 ? -1 : ioctl(network, NS_GET_USERNS);
	struct stat a, b;
	bool same = owner >= 0 && fstat(owner, &a) == 0 && stat("/proc/self/ns/user", &b) == 0 &&
		    a.st_dev == b.st_dev && a.st_ino == b.st_ino;

	if (owner >= 0)
		close(owner);
	if (network >= 0)
		close(network);
	return same;
}

const char *ipq_explain_permission(void)
{
	if (!ipq_has_net_admin())
		return "not permitted without CAP_NET_ADMIN; run it as root";
	if (!owns_network_namespace())
		return "not permitted; this network namespace belongs to another user namespace, "
		       "run it there";
	return NULL;
}

static enum ipq_cause explain_eperm(char *text, size_t size, uint16_t queue_num)
{
	const char *reason = ipq_explain_permission();
	char taken[256];

	if (!reason)
		ipq_explain_taken(taken, sizeof(taken), queue_num);
	snprintf(text, size, "cannot bind queue %u: %s", queue_num, reason ? reason : taken);
	return reason ? IPQ_CAUSE_PERMISSION : IPQ_CAUSE_TAKEN;
}

void ipq_explain_kernel(char *text, size_t size, int error)
{
	snprintf(
		text, size,
		"%s; this kernel has no NFQUEUE: try \"modprobe nfnetlink_queue\", or use a kernel "
		"with CONFIG_NETFILTER_NETLINK_QUEUE",
		strerror(-error));
}

static enum ipq_cause explain_kernel(char *text, size_t size, uint16_t queue_num, int error)
{
	char reason[256];

	ipq_explain_kernel(reason, sizeof(reason), error);
	snprintf(text, size, "cannot bind queue %u: %s", queue_num, reason);
	return IPQ_CAUSE_KERNEL;
}

enum ipq_cause ipq_explain_open(char *text, size_t size, const struct ipq_queue_options *options,
				int error)
{
	uint16_t queue_num = options->queue_num;

	switch (-error) {
	case EPERM: return explain_eperm(text, size, queue_num);
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
	case EINVAL: return explain_kernel(text, size, queue_num, error);
	case EOPNOTSUPP:
		snprintf(text, size,
			 "cannot set queue %u to fail open: this kernel lacks it (Linux 3.6 has "
			 "it); go "
			 "without",
			 queue_num);
		return IPQ_CAUSE_KERNEL;
	case ERANGE:
		snprintf(
			text, size,
			"cannot open queue %u: copy range and queue length must be at least 1, the "
			"receive buffer below 1 GiB",
			queue_num);
		return IPQ_CAUSE_OPTION;
	default:
		snprintf(text, size, "cannot open queue %u: %s", queue_num, strerror(-error));
		return IPQ_CAUSE_SYSTEM;
	}
}
