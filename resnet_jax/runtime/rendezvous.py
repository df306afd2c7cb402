"""A meeting of the processes of a run before JAX connects them, so that what is wrong with it is one line.

JAX aborts with a native trace when a process never comes, two have one number, or the port is in use.
"""

import socket
import time
from contextlib import ExitStack, suppress

from resnet_jax.errors import InputError

GREETING_SECONDS = 5.0  # for the line of a process that has connected; others that connect are ignored
HOST_SECONDS = 5.0  # for the name of process 0's host to become known, where it is announced with the machine
PAUSE_SECONDS = 0.3  # between attempts to reach process 0
HELLO, WELCOME = "resnet_jax process", "welcome"


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT.

    Raises:
        InputError: it is anything else.
    """
    host, _, port = address.rpartition(":")
    if not host.strip("[]") or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f"--coordinator_address={address} is not HOST:PORT, such as 10.0.0.1:1234")
    return host.strip("[]"), int(port)


def meet(address: str, num_processes: int, process_id: int, seconds: float) -> None:
    """Wait until all processes have come to the address of process 0.

    Args:
        address: HOST:PORT.
        num_processes: how many there are.
        process_id: the number of this one.
        seconds: to wait at most.

    Raises:
        InputError: the address is none, its port in use or its host unknown; processes that have not come in time, that
            have one number, or that expect another count.
    """
    host, port = split_address(address)
    if process_id == 0:
        _welcome(address, host, port, num_processes, seconds)
    elif problem := _greet(address, host, port, num_processes, process_id, seconds):
        raise InputError(problem)


def _welcome(address: str, host: str, port: int, num_processes: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    came: dict[int, socket.socket] = {}
    problem = ""
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(address, host, port))
        while len(came) < num_processes - 1 and not problem:
            try:
                listener.settimeout(max(deadline - time.monotonic(), 0.001))
                peer, _ = listener.accept()
            except TimeoutError:
                missing = [str(i) for i in range(1, num_processes) if i not in came]
                problem = (
                    f"process {', '.join(missing)} of --num_processes={num_processes} did not connect to "
                    f"--coordinator_address={address} within {seconds:g} s; start all of them together, or wait "
                    "longer (--connect_timeout)"
                )
                break
            stack.enter_context(peer)
            peer.settimeout(GREETING_SECONDS)
            with suppress(OSError, ValueError):  # not one of ours
                hello, number, count = peer.makefile("r").readline().rsplit(maxsplit=2)
                if hello != HELLO:
                    continue
                if int(count) != num_processes:
                    problem = f"process {number} has --num_processes={count}, process 0 has {num_processes}"
                elif int(number) in came or int(number) == 0:
                    problem = f"two processes have --process_id={number}; each needs its own, from 0"
                came[int(number) if not problem else -1] = peer
        for peer in came.values():
            with suppress(OSError):
                peer.sendall(f"{problem or WELCOME}\n".encode())
    if problem:
        raise InputError(problem)


def _listen(address: str, host: str, port: int) -> socket.socket:
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(_unknown(address, host, str(error))) from error
    dual = socket.has_dualstack_ipv6()
    try:
        family = socket.AF_INET6 if dual else known[0][0]
        return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=dual)
    except OSError as error:
        raise InputError(
            f"--coordinator_address={address}: process 0 cannot use port {port} ({error.strerror}); take another, and "
            "give --process_id=0 to one process only"
        ) from error


def _unknown(address: str, host: str, why: str) -> str:
    return f"--coordinator_address={address}: the host {host} is not known ({why})"


def _greet(address: str, host: str, port: int, num_processes: int, process_id: int, seconds: float) -> str:
    """Return what is wrong, "" if all have come."""
    begun = time.monotonic()
    deadline, why, known = begun + seconds, "no answer", False
    while (left := deadline - time.monotonic()) > 0:
        try:
            known = known or bool(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            with socket.create_connection((host, port), timeout=left) as peer:
                peer.sendall(f"{HELLO} {process_id} {num_processes}\n".encode())
                peer.settimeout(left + GREETING_SECONDS)
                answer = peer.makefile("r").readline().strip()
        except (OSError, ValueError) as error:
            why = str(error)
            if not known and time.monotonic() > begun + HOST_SECONDS:
                break
            time.sleep(min(PAUSE_SECONDS, left))
            continue
        if answer == WELCOME:
            return ""
        if answer:
            return answer
        why = "process 0 ended"
        time.sleep(PAUSE_SECONDS)
    if not known:
        return _unknown(address, host, why)
    return (
        f"--coordinator_address={address}: process 0 was not reached within {seconds:g} s ({why}); it must run on that "
        "host with the port open; --connect_timeout waits longer"
    )
