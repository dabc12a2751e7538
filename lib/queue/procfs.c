/* What the kernel tells of a queue. */
#include "queue.h"

#include <errno.h>
#include <stdio.h>

int ipq_procfs_queue(uint16_t queue_num, struct ipq_procfs_queue *status)
{
	FILE *file = fopen("/proc/net/netfilter/nfnetlink_queue", "re");
	struct ipq_procfs_queue s;
	unsigned int number;
	char line[256];
	int ret = -ENOENT;

	if (!file)
		return errno == ENOENT ? -EOPNOTSUPP : -errno;
	/* Number, port, waiting, copy mode, copy range, dropped, user_dropped, and more. */
	while (ret < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%u %u %u %u %u %u %u", &number, &s.portid, &s.waiting,
			   &s.copy_mode, &s.copy_range, &s.dropped, &s.user_dropped) == 7 &&
		    number == queue_num) {
			*status = s;
			ret = 0;
		}
	}
	fclose(file);
	return ret;
}
