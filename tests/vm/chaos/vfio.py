"""VFIO's ioctls, and the edu device, for who has a descriptor (include/uapi/linux/vfio.h)."""

import fcntl
import os
import struct
import time

SET_IOMMU, GROUP_GET_STATUS, SET_CONTAINER, UNSET_CONTAINER, GET_DEVICE_FD = range(0x3B66, 0x3B6B)
DEVICE_GET_REGION_INFO = 0x3B6C
DEVICE_RESET = 0x3B6F
MAP_DMA, UNMAP_DMA = 0x3B71, 0x3B72
TYPE1V2 = 3

CDEV_BIND, CDEV_ATTACH, CDEV_DETACH = range(0x3B76, 0x3B79)
IOAS_ALLOC, IOAS_MAP, IOAS_UNMAP = 0x3B81, 0x3B85, 0x3B86  # include/uapi/linux/iommufd.h

EDU_BYTES = 2048  # of one transfer; programs/edu-device.h
EDU_LAST = (1 << 28) - 1


def container_new():
    return os.open("/dev/vfio/vfio", os.O_RDWR | os.O_CLOEXEC)


def container_join(container, group):
    fcntl.ioctl(group, SET_CONTAINER, struct.pack("i", container))
    fcntl.ioctl(container, SET_IOMMU, TYPE1V2)


def dma_map(container, address, iova, length):
    fcntl.ioctl(container, MAP_DMA, struct.pack("IIQQQ", 32, 3, address, iova, length))


def dma_unmap(container, iova, length):
    """How many bytes were unmapped."""
    answer = fcntl.ioctl(container, UNMAP_DMA, struct.pack("IIQQ", 24, 0, iova, length))
    return struct.unpack("IIQQ", answer)[3]


def device_open(group, name):
    # A buffer that can be written makes Python return what the ioctl returns.
    return fcntl.ioctl(group, GET_DEVICE_FD, bytearray(name.encode() + b"\0"))


def cdev_bind(node, context):
    fcntl.ioctl(node, CDEV_BIND, struct.pack("IIiI", 16, 0, context, 0))


def cdev_attach(node, ioas):
    fcntl.ioctl(node, CDEV_ATTACH, struct.pack("III", 12, 0, ioas))


def cdev_detach(node):
    fcntl.ioctl(node, CDEV_DETACH, struct.pack("II", 8, 0))


def ioas_new(context):
    return struct.unpack("III", fcntl.ioctl(context, IOAS_ALLOC, struct.pack("III", 12, 0, 0)))[2]


def ioas_map(context, ioas, address, iova, length):
    # At this IOVA, to be read and written.
    fcntl.ioctl(context, IOAS_MAP, struct.pack("IIIIQQQ", 40, 7, ioas, 0, address, length, iova))


def ioas_unmap(context, ioas, iova, length):
    """How many bytes were unmapped."""
    answer = fcntl.ioctl(context, IOAS_UNMAP, struct.pack("IIQQ", 24, ioas, iova, length))
    return struct.unpack("IIQQ", answer)[3]


def region_offset(device, index):
    answer = fcntl.ioctl(device, DEVICE_GET_REGION_INFO, struct.pack("IIIIQQ", 32, 0, index, 0, 0, 0))
    return struct.unpack("IIIIQQ", answer)[5]


class Edu:
    """The device's engine, by reading and writing its descriptor; OSError if there is none behind it."""

    def __init__(self, device):
        self.device = device
        config = region_offset(device, 7)
        self.bar = region_offset(device, 0)
        # PCI_COMMAND: memory, bus master.
        os.pwrite(device, struct.pack("H", 0x6), config + 4)

    def is_there(self):
        return self.get(0) & 0xFFFF == 0x00ED

    def get(self, register):
        return struct.unpack("I", os.pread(self.device, 4, self.bar + register))[0]

    def set(self, register, value):
        os.pwrite(self.device, struct.pack("I", value), self.bar + register)

    def transfer(self, source, target, command):
        self.set(0x80, source)
        self.set(0x88, target)
        self.set(0x90, EDU_BYTES)
        self.set(0x98, command | 1)
        end = time.monotonic() + 30
        while self.get(0x98) & 1:
            if time.monotonic() > end:
                raise OSError("a transfer of edu has not ended")
            time.sleep(0.01)

    def to_device(self, iova):
        self.transfer(iova, 0x40000, 0)

    def to_memory(self, iova):
        self.transfer(0x40000, iova, 2)
