"""What the kernel says: of devices, open files, pages. Nothing here asks vfiod."""

import contextlib
import ctypes
import os
import struct

PAGE = 4096
PCI = "/sys/bus/pci/devices"
GROUPS = "/sys/kernel/iommu_groups"
libc = ctypes.CDLL(None, use_errno=True)


def read(*path):
    try:
        with open(os.path.join(*path)) as file:
            return file.read().strip()
    except OSError:
        return None


def write(path, text):
    """0 or an errno."""
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno
    return 0


def link(*path):
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(os.path.join(*path)))
    return None


def driver_of(device):
    return link(PCI, device, "driver")


def group_of(device):
    number = link(PCI, device, "iommu_group")
    return int(number) if number else None


def devices_now():
    """Each device with a group: its driver and override."""
    found = {}
    for name in os.listdir(PCI):
        if group_of(name) is not None:
            found[name] = (driver_of(name), (read(PCI, name, "driver_override") or "").replace("(null)", ""))
    return found


def bind_over(path):
    """Every write to it fails from here on; what is read is true, as of no other file that would be put there."""
    name = path.encode()
    if libc.mount(name, name, None, 4096, None) != 0:  # MS_BIND
        return False
    return libc.mount(None, name, None, 4096 | 32 | 1, None) == 0  # MS_BIND, MS_REMOUNT, MS_RDONLY


def unbind_over(path):
    libc.umount2(path.encode(), 2)  # MNT_DETACH


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_of(pid):
    return read(f"/proc/{pid}/comm")


def has_ended(pid):
    status = read(f"/proc/{pid}/stat")
    return status is None or status.rpartition(") ")[2].startswith("Z")


def children_of(pid):
    return [int(child) for child in (read(f"/proc/{pid}/task/{pid}/children") or "").split()]


def threads_of(pid):
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/task"))
    return 0


def descriptors_of(pid):
    found = {}
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def status_of(pid, key):
    """A figure of /proc/PID/status in bytes; 0 if there is no such process any more."""
    for line in (read(f"/proc/{pid}/status") or "").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def lock_limit_of(pid):
    for line in (read(f"/proc/{pid}/limits") or "").splitlines():
        if line.startswith("Max locked memory"):
            return tuple(line.split()[3:5])
    return None


def openers():
    """Who has VFIO open: {pid: {group numbers, or what else it is}}."""
    found = {}
    for pid in processes():
        held = set()
        for target in descriptors_of(pid).values():
            if target.startswith("/dev/vfio/") and target.endswith(" (deleted)"):
                # The kernel may have given its number to another group meanwhile.
                held.add("group that has left")
            elif target.startswith("/dev/vfio/devices/"):
                held.add("device")
            elif target.startswith("/dev/vfio/") and target != "/dev/vfio/vfio":
                held.add(int(target.removeprefix("/dev/vfio/")))
            elif target == "anon_inode:[vfio-device]":
                held.add("device")
        if held:
            found[pid] = held
    return found


def pinned():
    """Pages that all of the host has pinned for long, as often as they are."""
    # The counts of the processors come together.
    read("/proc/sys/vm/stat_refresh")
    counts = dict(line.split() for line in read("/proc/vmstat").splitlines())
    return int(counts["nr_foll_pin_acquired"]) - int(counts["nr_foll_pin_released"])


def frames(pid, name, offset, length):
    """The page frames of a part of the file NAME as this process has it mapped. Absent pages are none."""
    found = set()
    for line in (read(f"/proc/{pid}/maps") or "").splitlines():
        if f"/memfd:{name} " not in line:
            continue
        first, last = (int(number, 16) for number in line.split()[0].split("-"))
        begin = first + offset - int(line.split()[2], 16)
        if first <= begin and begin + length <= last:
            with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
                entries = os.pread(file.fileno(), length // PAGE * 8, begin // PAGE * 8)
            for (entry,) in struct.iter_unpack("Q", entries):
                if entry >> 63:
                    found.add(entry & (1 << 55) - 1)
            return found
    return found
