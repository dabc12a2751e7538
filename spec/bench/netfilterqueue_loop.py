# python3's netfilterqueue, accepting everything: netfilterqueue_loop.py QUEUE
import socket
import sys

import netfilterqueue

queue = netfilterqueue.NetfilterQueue()
queue.bind(int(sys.argv[1]), lambda packet: packet.accept(), max_len=1024)
# The same buffer as the others: only the loop is compared.
own = socket.fromfd(queue.get_fd(), socket.AF_NETLINK, socket.SOCK_RAW)
own.setsockopt(socket.SOL_SOCKET, 33, 128 << 20)  # SO_RCVBUFFORCE
queue.run()
