"""Holds real loopback sockets open: reads how many from its input, says `ready`, and waits for the next number."""

import socket
import struct
import sys

RESET = struct.pack("ii", 1, 0)
DOORS = 4


def main():
    first = int(sys.argv[1])
    held = []
    for port in range(first, first + DOORS):
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("0.0.0.0", port))
        door.listen(16)
        held.append(door)
    for line in sys.stdin:
        while len(held) < int(line):
            pair = len(held) // 2
            near = socket.socket()
            near.connect((f"127.0.0.{1 + pair % 16}", first + pair % DOORS))
            far, _ = held[pair % DOORS].accept()
            # They end with a reset: no 40,000 sockets in TIME_WAIT for whoever measures next.
            for end in near, far:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                held.append(end)
        print("ready", flush=True)


main()
