"""A file system that hangs: FUSE (fuse.h of Linux) whose daemon answers the first message and no other."""

import ctypes
import os
import struct
import unittest

INIT = 26
MNT_DETACH = 2
LIBC = ctypes.CDLL(None, use_errno=True)


def called(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Hung:
    """Mounted on `path`; whoever touches what is below waits until this ends."""

    def __init__(self, path):
        if not os.path.exists("/dev/fuse"):
            raise unittest.SkipTest("no /dev/fuse")
        os.makedirs(path, exist_ok=True)
        self.path, self.fd = path, os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        try:
            called(LIBC.mount(b"hung", path.encode(), b"fuse.hung", 0, options.encode()))
        except OSError as error:
            os.close(self.fd)
            raise unittest.SkipTest(f"FUSE can't be mounted: {error}") from error
        _, opcode, unique = struct.unpack_from("=IIQ", os.read(self.fd, 1 << 17))
        assert opcode == INIT, opcode
        reply = struct.pack("=IIIIHHIIHHI7I", 7, 31, 65536, 0, 16, 12, 65536, 1, 1, 0, 0, *[0] * 7)
        os.write(self.fd, struct.pack("=IiQ", 16 + len(reply), 0, unique) + reply)

    def end(self):
        """Unmounts it, whereupon all who wait are told that there is nothing."""
        if self.fd >= 0:
            LIBC.umount2(self.path.encode(), MNT_DETACH)
            os.close(self.fd)
            self.fd = -1
