"""A stand-in for systemd: it holds the listening socket, and what vfiod puts into its store.

What it does as systemd does (core/service.c): names and descriptors by FDSTORE=1 and FDNAME=, gone
by FDSTOREREMOVE=1, dropped without a word beyond the maximum; barriers in their turn; a new process
gets all of them from 3 on, in no useful order.
"""

import array
import fcntl
import os
import random
import socket
import subprocess
import threading

from vfiod_host import BUILD, WRAPPER, Daemon, wait_until

# Where its own copies are: from 3 on it hands over.
HIGH = 512
MAX_NOTIFIED = 1


class FdStore:
    def __init__(self, path, maximum):
        self.maximum = maximum
        self.lock = threading.Lock()
        self.kept = {}
        self.n_dropped = self.n_ready = 0
        self.address = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(self.address)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        size = socket.CMSG_SPACE(MAX_NOTIFIED * array.array("i").itemsize)
        while True:
            text, control, _, _ = self.socket.recvmsg(4096, size, socket.MSG_CMSG_CLOEXEC)
            if text == b"END":
                return
            fds = array.array("i")
            for _, _, data in control:
                fds.frombytes(data)
            lines = text.decode().splitlines()
            with self.lock:
                self.handle(dict(line.split("=", 1) for line in lines), list(fds))

    def handle(self, told, fds):
        name = told.get("FDNAME")
        if "FDSTORE" in told:
            # Else it would look when the other end has gone.
            assert told["FDPOLL"] == "0" and ":" not in name and name not in self.kept
            if len(self.kept) < self.maximum:
                self.kept[name] = fcntl.fcntl(fds[0], fcntl.F_DUPFD_CLOEXEC, HIGH)
            else:
                self.n_dropped += 1
        elif "FDSTOREREMOVE" in told and name in self.kept:
            os.close(self.kept.pop(name))
        self.n_ready += told.get("READY") == "1"
        for fd in fds:
            os.close(fd)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"END", self.address)
        self.thread.join()
        self.socket.close()
        for fd in self.kept.values():
            os.close(fd)
        self.kept = {}


class KeptDaemon(Daemon):
    """vfiod as systemd's service: started again after whatever end, connections and all."""

    def __init__(self, host, config="", maximum=256):
        self.maximum = maximum
        self.store = None
        super().__init__(host, config)

    def make_store(self):
        self.store = FdStore(self.directory / "notify", self.maximum)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(str(self.socket))
        os.chmod(self.socket, 0o666)
        listener.listen(512)
        self.listener = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, HIGH)
        listener.close()
        self.cleanup.callback(os.close, self.listener)
        self.cleanup.callback(self.store.close)

    def start(self):
        if not self.store:
            self.make_store()
        with self.store.lock:
            handed = [("varlink", self.listener), *self.store.kept.items()]
            random.shuffle(handed)
            n_ready = self.store.n_ready
            self.launch(handed)
        wait_until("the daemon is ready",
                   lambda: self.store.n_ready > n_ready or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise AssertionError("the daemon ended:\n" + self.log.read_text())

    def launch(self, handed):
        def move():
            for i, (_, fd) in enumerate(handed):
                os.dup2(fd, 3 + i)

        environment = {**self.environment(), "NOTIFY_SOCKET": self.store.address,
                       "LISTEN_FDS": str(len(handed)),
                       "LISTEN_FDNAMES": ":".join(name for name, _ in handed)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", "umockdev-wrapper", *WRAPPER,
                 BUILD / "vfiod", "--config", self.config, "--fd-store", str(self.maximum),
                 "--state-dir", self.directory / "state", "--keeper", self.keeper,
                 *self.options],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                close_fds=False, preexec_fn=move)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.start()
