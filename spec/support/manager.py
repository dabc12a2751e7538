"""A service manager for specs: it starts the program, listens to it, and keeps its descriptors, as systemd does.

In a shell script with DIR and PROGRAM exported: PYTHONPATH=spec/support python3 -B, and "from manager import *"."""
import os
import socket
import subprocess

notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(os.environ["DIR"] + "/notify")
notify.settimeout(300)
os.environ.update(NOTIFY_SOCKET=os.environ["DIR"] + "/notify", FDSTORE="64")

# The descriptors that are kept, (name, descriptor), in the order in which they came; there may be several of a name.
store = []
# What the program has told, each message as its fields by name.
told = []


def forget(name):
    for entry in [entry for entry in store if entry[0] == name]:
        os.close(entry[1])
        store.remove(entry)


def hear():
    """Waits for the program's next message, and gives its fields by name."""
    text, fds, _, _ = socket.recv_fds(notify, 4096, 4)
    fields = dict(line.split("=", 1) for line in text.decode().split("\n"))
    if "FDSTORE" in fields:
        store.append((fields["FDNAME"], fds[0]))
    if "FDSTOREREMOVE" in fields:
        forget(fields["FDNAME"])
    told.append(fields)
    return fields


def give(fds, names):
    """In a process that is to become the program: these descriptors are its first ones."""
    for i, fd in enumerate(fds):
        os.dup2(fd, 60 + i)
    for i in range(len(fds)):
        os.dup2(60 + i, 3 + i)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join(names))


def give_store():
    if store:
        names, fds = zip(*store)
        give(fds, names)


def start(*arguments, preexec_fn=give_store, **options):
    """The program with these arguments, and with what is kept, as soon as it is ready; options are Popen's."""
    # Without env: what the child sets in its environment is what it is started with.
    program = subprocess.Popen([os.environ["PROGRAM"], *arguments], preexec_fn=preexec_fn, close_fds=False, **options)
    while "READY" not in hear():
        pass
    return program


def stop(program):
    """Gives its exit status."""
    program.terminate()
    return program.wait()
