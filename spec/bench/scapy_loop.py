# Counts the TCP packets to port 23 in a capture: scapy_loop.py FILE
import sys

from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether  # noqa: F401, the captures' link layer
from scapy.utils import PcapReader

count = 0
for packet in PcapReader(sys.argv[1]):
    if TCP in packet and packet[TCP].dport == 23:
        count += 1
print("telnet", count)
