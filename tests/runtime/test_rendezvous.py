"""The meeting before JAX connects the processes: every way in which it fails is one line."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resnet_jax.errors import InputError
from resnet_jax.runtime import rendezvous
from resnet_jax.runtime.rendezvous import meet, split_address
from tests.runtime.scripts import free_port


def outcomes(*processes, seconds=20.0):
    """Return what each process (number, how many it expects) is told: "" where all met."""
    address = f"127.0.0.1:{free_port()}"

    def come(number, count):
        try:
            meet(address, count, number, seconds)
        except InputError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(processes)) as threads:
        return [f.result() for f in [threads.submit(come, *process) for process in processes]]


def test_processes_that_all_come_have_met():
    assert outcomes((2, 3), (0, 3), (1, 3)) == ["", "", ""]


def test_a_process_that_never_comes_is_named_by_those_that_wait():
    first, second = outcomes((0, 3), (1, 3), seconds=1)
    assert first == second
    assert "process 2 of --num_processes=3 did not connect" in first
    assert "--connect_timeout" in first


def test_two_processes_with_one_number_are_named():
    assert {*outcomes((0, 3), (1, 3), (1, 3))} == {"two processes have --process_id=1; each needs its own, from 0"}


def test_another_count_of_processes_is_named():
    assert "process 1 has --num_processes=2, process 0 has 3" in outcomes((0, 3), (1, 2), seconds=3)[0]


def test_process_0_that_never_comes():
    assert "process 0 was not reached within 1 s" in outcomes((1, 2), seconds=1)[0]


@pytest.mark.parametrize("address", ["abc", "abc:", ":1234", "localhost:x", "localhost:0", "localhost:65536"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match="is not HOST:PORT, such as"):
        meet(address, 2, 0, 1)


def test_an_address_of_ip_version_6():
    assert split_address("[::1]:1234") == ("::1", 1234)


def test_a_port_in_use_is_refused():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"process 0 cannot use port {port}"):
            meet(f"127.0.0.1:{port}", 2, 0, 1)


@pytest.mark.parametrize("number", [0, 1])
def test_a_host_that_nobody_knows_is_one_line(number):
    with pytest.raises(InputError, match=r"no-such-host\.invalid"):
        meet("no-such-host.invalid:1234", 2, number, 1)


@pytest.mark.parametrize("number", [0, 1])
def test_an_unknown_host_is_said_long_before_the_others_are_given_up(number, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(rendezvous, "HOST_SECONDS", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"^--coordinator_address=head:1234: the host head is not known \(.*Temporary"):
        meet("head:1234", 2, number, 60)
    assert time.monotonic() - begun < 5


def test_a_host_whose_name_comes_late_is_met(monkeypatch):
    late, real = iter([True, True]), socket.getaddrinfo

    def known_later(*arguments, **options):
        if threading.current_thread() is threading.main_thread() and next(late, False):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known_later)
    address = f"127.0.0.1:{free_port()}"
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(meet, address, 2, 0, 20)
        meet(address, 2, 1, 20)
        assert first.result(20) is None
    assert next(late, None) is None


def test_others_that_connect_are_ignored():
    address = f"127.0.0.1:{(port := free_port())}"
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(meet, address, 2, 0, 20)
        stranger = None
        while stranger is None:
            try:
                stranger = socket.create_connection(("127.0.0.1", port))
            except OSError:
                threading.Event().wait(0.05)
        with stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            threads.submit(meet, address, 2, 1, 20).result()
            first.result()
