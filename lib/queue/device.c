/* Interfaces by their index, from a small cache. */
#include "queue.h"
#include "lib/clock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

_Static_assert(sizeof(((struct ipq_device *)0)->name) == IFNAMSIZ, "IFNAMSIZ");

enum {
	SLOTS = sizeof(((struct ipq_devices *)0)->slots) / sizeof(struct ipq_device),
	KEEP_MS = 1000
};

static void device_read(int fd, struct ipq_device *device)
{
	struct ifreq request = {.ifr_ifindex = (int)device->index};

	device->name[0] = '\0';
	device->type = 0;
	device->mtu = 0;
	if (fd < 0 || ioctl(fd, SIOCGIFNAME, &request) < 0)
		return;
	memcpy(device->name, request.ifr_name, sizeof(device->name));
	device->name[sizeof(device->name) - 1] = '\0';
	if (ioctl(fd, SIOCGIFHWADDR, &request) == 0)
		device->type = request.ifr_hwaddr.sa_family;
	if (ioctl(fd, SIOCGIFMTU, &request) == 0)
		device->mtu = (uint32_t)request.ifr_mtu;
}

/* Any socket takes these requests; through one of this kind nobody can be reached. 0 is "not yet", so
 * that zeroed memory is an empty cache: the descriptor is kept plus one. */
void ipq_devices_open(struct ipq_devices *devices)
{
	if (devices->fd == 0)
		devices->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK) + 1;
}

const struct ipq_device *ipq_device_get(struct ipq_devices *devices, uint32_t index)
{
	struct ipq_device *device = &devices->slots[index % SLOTS];
	int64_t now = ipq_coarse_ns() / 1000000;
	int saved = errno;

	if (device->index == index && device->until_ms > now)
		return device;
	ipq_devices_open(devices);
	device->index = index;
	device_read(devices->fd - 1, device);
	device->until_ms = now + KEEP_MS;
	errno = saved;
	return device;
}

uint32_t ipq_device_find(struct ipq_devices *devices, const char *name)
{
	struct ifreq request = {.ifr_ifindex = 0};
	size_t len = strnlen(name, IFNAMSIZ);
	int64_t now = ipq_coarse_ns() / 1000000;
	int saved = errno;
	bool found;

	if (len == 0 || len == IFNAMSIZ)
		return 0;
	for (uint32_t i = 0; i < SLOTS; i++) {
		const struct ipq_device *device = &devices->slots[i];

		if (device->until_ms > now && strcmp(device->name, name) == 0)
			return device->index;
	}
	ipq_devices_open(devices);
	memcpy(request.ifr_name, name, len);
	found = devices->fd > 0 && ioctl(devices->fd - 1, SIOCGIFINDEX, &request) == 0;
	errno = saved;
	return found ? (uint32_t)request.ifr_ifindex : 0;
}

bool ipq_device_is_outgrown(struct ipq_devices *devices, const struct ipq_packet *packet)
{
	enum { DONT_FRAGMENT = 0x40 };
	uint32_t mtu;

	if (packet->data_len <= packet->came_len || !(packet->present & IPQ_HAS_OUTDEV) ||
	    (packet->present & IPQ_HAS_SKB_INFO && packet->skb_info & IPQ_SKB_GSO) ||
	    (packet->ip_version == 4 && !(packet->data[packet->l3 + 6] & DONT_FRAGMENT)))
		return false;
	mtu = ipq_device_get(devices, packet->outdev)->mtu;
	return mtu && packet->data_len - packet->l3 > mtu;
}

void ipq_devices_clear(struct ipq_devices *devices)
{
	if (devices->fd > 0)
		close(devices->fd - 1);
	memset(devices, 0, sizeof(*devices));
}
