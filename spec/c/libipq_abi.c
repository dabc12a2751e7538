/* Prints sizes, offsets and constants of the classic headers as lines "name value". */
#include <libipq.h>
#include <linux/netfilter.h>
#include <stddef.h>
#include <stdio.h>

#define SIZE(type)  printf("sizeof(%s) %zu\n", #type, sizeof(type))
#define ALIGN(type) printf("alignof(%s) %zu\n", #type, _Alignof(type))
#define FIELD(type, member)                                               \
	printf("%s.%s %zu %zu\n", #type, #member, offsetof(type, member), \
	       sizeof(((type *)0)->member))
#define CONSTANT(name) printf("%s %d\n", #name, (int)(name))

int main(void)
{
	typedef struct ipq_handle ipq_handle;

	SIZE(ipq_packet_msg_t);
	ALIGN(ipq_packet_msg_t);
	FIELD(ipq_packet_msg_t, packet_id);
	FIELD(ipq_packet_msg_t, mark);
	FIELD(ipq_packet_msg_t, timestamp_sec);
	FIELD(ipq_packet_msg_t, timestamp_usec);
	FIELD(ipq_packet_msg_t, hook);
	FIELD(ipq_packet_msg_t, indev_name);
	FIELD(ipq_packet_msg_t, outdev_name);
	FIELD(ipq_packet_msg_t, hw_protocol);
	FIELD(ipq_packet_msg_t, hw_type);
	FIELD(ipq_packet_msg_t, hw_addrlen);
	FIELD(ipq_packet_msg_t, hw_addr);
	FIELD(ipq_packet_msg_t, data_len);
	FIELD(ipq_packet_msg_t, payload);
	SIZE(ipq_mode_msg_t);
	FIELD(ipq_mode_msg_t, value);
	FIELD(ipq_mode_msg_t, range);
	SIZE(ipq_verdict_msg_t);
	FIELD(ipq_verdict_msg_t, value);
	FIELD(ipq_verdict_msg_t, id);
	FIELD(ipq_verdict_msg_t, data_len);
	FIELD(ipq_verdict_msg_t, payload);
	SIZE(ipq_peer_msg_t);
	FIELD(ipq_peer_msg_t, msg.verdict);
	FIELD(ipq_peer_msg_t, msg.mode);
	SIZE(ipq_handle);
	FIELD(ipq_handle, fd);
	FIELD(ipq_handle, blocking);
	FIELD(ipq_handle, local);
	FIELD(ipq_handle, peer);
	SIZE(ipq_id_t);
	CONSTANT(IPQ_COPY_NONE);
	CONSTANT(IPQ_COPY_META);
	CONSTANT(IPQ_COPY_PACKET);
	CONSTANT(IPQ_COPY_MAX);
	CONSTANT(IPQM_BASE);
	CONSTANT(IPQM_MODE);
	CONSTANT(IPQM_VERDICT);
	CONSTANT(IPQM_PACKET);
	CONSTANT(IPQM_MAX);
	CONSTANT(MSG_TRUNC);
	return 0;
}
