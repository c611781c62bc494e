#!/usr/bin/env python3
"""dma.py DEVICE: what vmm.c does, in Python: DMA by QEMU's edu device, unprivileged."""

import ctypes
import fcntl
import mmap
import os
import struct
import sys
import time

import vfiod

# linux/vfio.h: _IO(';', 100 + n)
SET_IOMMU, SET_CONTAINER, GET_DEVICE_FD, GET_REGION_INFO, MAP_DMA = (0x3B64 + n for n in (2, 4, 6, 8, 13))
TYPE1V2, READ_WRITE, BAR0, CONFIG = 3, 3, 0, 7
# docs/specs/edu.txt of QEMU
SOURCE, TARGET, COUNT, COMMAND, BUFFER = 0x80, 0x88, 0x90, 0x98, 0x40000
IOVA, BYTES = 0x1000000, 1024


def ioctl(fd, request, layout, *values):
    argument = bytearray(struct.pack(layout, *values))
    return fcntl.ioctl(fd, request, argument), struct.unpack(layout, argument)


def region(device, index):
    _, (_, _, _, _, size, offset) = ioctl(device, GET_REGION_INFO, "IIIIQQ", 32, 0, index, 0, 0, 0)
    return size, offset


def copy(edu, source, target, command):
    for register, value in ((SOURCE, source), (TARGET, target), (COUNT, BYTES), (COMMAND, command | 1)):
        ctypes.c_uint64.from_buffer(edu, register).value = value
    while ctypes.c_uint64.from_buffer(edu, COMMAND).value & 1:
        time.sleep(0.001)


def main(name):
    memory = mmap.mmap(-1, 1 << 20)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    with vfiod.Connection() as connection, connection.acquire(name, waitSeconds=10, memoryBytes=len(memory)) as lease:
        container = os.open("/dev/vfio/vfio", os.O_RDWR)
        ioctl(lease.fds[0], SET_CONTAINER, "i", container)
        fcntl.ioctl(container, SET_IOMMU, TYPE1V2)
        ioctl(container, MAP_DMA, "IIQQQ", 32, READ_WRITE, address, IOVA, len(memory))
        device, _ = ioctl(lease.fds[0], GET_DEVICE_FD, "64s", name.encode())
        _, config = region(device, CONFIG)
        (command,) = struct.unpack("<H", os.pread(device, 2, config + 4))
        os.pwrite(device, struct.pack("<H", command | 6), config + 4)
        size, offset = region(device, BAR0)
        edu = mmap.mmap(device, size, offset=offset)

        memory[:BYTES] = bytes((i * 7 + i // 256) % 256 for i in range(BYTES))
        copy(edu, IOVA, BUFFER, 0)
        copy(edu, BUFFER, IOVA + 4096, 2)
        is_equal = memory[:BYTES] == memory[4096 : 4096 + BYTES]
        print(f"{name}: {BYTES} bytes there and back are {'equal' if is_equal else 'not equal'}")
        edu.close()
        os.close(device)
        os.close(container)
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
