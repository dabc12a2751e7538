/* What the kernel tells of queues. */
#include "queue.h"

#include <errno.h>
#include <stdio.h>

int ipq_procfs_each(void (*each)(void *data, uint16_t queue_num,
				 const struct ipq_procfs_queue *listed),
		    void *data)
{
	FILE *file = fopen("/proc/net/netfilter/nfnetlink_queue", "re");
	struct ipq_procfs_queue q;
	unsigned int number;
	char line[256];

	if (!file)
		return errno == ENOENT ? -EOPNOTSUPP : -errno;
	/* Number, port, waiting, copy mode, copy range, dropped, user_dropped, and more. */
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%u %u %u %u %u %u %u", &number, &q.portid, &q.waiting,
			   &q.copy_mode, &q.copy_range, &q.dropped, &q.user_dropped) == 7)
			each(data, (uint16_t)number, &q);
	fclose(file);
	return 0;
}

struct search {
	uint16_t queue_num;
	bool is_found;
	struct ipq_procfs_queue *listed;
};

static void compare(void *data, uint16_t queue_num, const struct ipq_procfs_queue *listed)
{
	struct search *search = data;

	if (queue_num != search->queue_num)
		return;
	search->is_found = true;
	*search->listed = *listed;
}

int ipq_procfs_queue(uint16_t queue_num, struct ipq_procfs_queue *listed)
{
	struct search search = {.queue_num = queue_num, .listed = listed};
	int ret = ipq_procfs_each(compare, &search);

	if (ret < 0)
		return ret;
	return search.is_found ? 0 : -ENOENT;
}
