#include "affinity.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

int affinity_count(void)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return -errno;
	return CPU_COUNT(&allowed);
}

int affinity_core(unsigned int index)
{
	cpu_set_t allowed;
	unsigned int skip;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return -errno;
	skip = index % (unsigned int)CPU_COUNT(&allowed);
	for (int core = 0; core < CPU_SETSIZE; core++)
		if (CPU_ISSET(core, &allowed) && skip-- == 0)
			return core;
	return -ENOENT;
}

int affinity_all(void)
{
	int allowed = affinity_count();

	if (allowed < 0)
		return allowed;
	if (allowed != sysconf(_SC_NPROCESSORS_ONLN) ||
	    affinity_core((unsigned int)allowed - 1) != allowed - 1)
		return -EPERM;
	return allowed;
}

int affinity_pin(int core)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(core, &one);
	return sched_setaffinity(0, sizeof(one), &one) < 0 ? -errno : 0;
}
