"""Fixtures that every test file shares: certificates, hosts, the load generator."""

import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import pytest

import load as load_module
from certs import Certs
from host import TOP, Host
from peers import UdpClient

LIVE_HOSTS = []
# The files that take longest begin first, so that no process is left alone with one of them at the end.
LONG_FILES = ["test_load", "test_package", "test_hostile", "test_judges", "test_scale", "test_operator", "test_names", "test_reload",
              "test_outgoing", "test_script", "test_revocation", "test_attacks", "test_differential"]


@pytest.fixture(scope="session")
def certs():
    """The certificates, in a folder that goes with the session."""
    folder = tempfile.mkdtemp(prefix="tls-certs-")
    os.chmod(folder, 0o755)  # for hosts that do not run as the tests' user
    yield Certs(folder)
    shutil.rmtree(folder)


def _make_hosts():
    """A function that starts hosts; each one is stopped and judged at the end."""
    made = []

    def make(**how):
        host = Host(**how)
        made.append(host)
        LIVE_HOSTS.append(host)
        return host

    def start(**how):
        return make(**how).start()

    start.make = make
    return start, made


def _end_hosts(made):
    """Stops every host; the first that ended badly is the failure that is told, but all are ended."""
    failure = None
    for host in reversed(made):
        try:
            if host.process and host.process.poll() is None:
                host.stop()
        except BaseException as e:  # pylint: disable=broad-except
            failure = failure or e
        finally:
            host.close()
            LIVE_HOSTS.remove(host)
    if failure:
        raise failure


@pytest.fixture
def start_host():
    """start_host(...) starts a Host for one test; start_host.make(...) only prepares it."""
    start, made = _make_hosts()
    yield start
    _end_hosts(made)


@pytest.fixture(scope="module")
def module_host():
    """The same for hosts that all tests of a file share."""
    start, made = _make_hosts()
    yield start
    _end_hosts(made)


@pytest.fixture
def host(shared):
    """The host that a file's tests share (its fixture `shared`), alive before and after each."""
    shared.revive()
    yield shared
    shared.check_alive()


@pytest.fixture
def udp(host):
    """A client that sends to that host over UDP."""
    with UdpClient(host.port("udp:127.0.0.1")) as client:
        yield client


@pytest.fixture(scope="session")
def load():
    """Runs the load generator: load(port, connections=..., ...) returns what it counted."""
    binary = os.path.join(TOP, "build", "load")
    assert os.path.exists(binary), f"{binary} does not exist: run make first"
    return load_module.Load(binary)


def pytest_collection_modifyitems(items):
    """Puts the long files first, each in its own order."""
    places = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of the log of each host that was up."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for host in LIVE_HOSTS:
            report.sections.append((f"log of the host on {host.listen}", host.log_tail(40)))


def pytest_sessionfinish(session):
    """Nothing may be left: no host's process, by its session."""
    for host in list(LIVE_HOSTS):
        host.close()


def pytest_report_header(config):
    """Says what is under test."""
    version = subprocess.run(["/usr/sbin/kamailio", "-v"], stdout=subprocess.PIPE, check=False, text=True)
    return f"host: {version.stdout.splitlines()[0] if version.stdout else 'not installed'}"
