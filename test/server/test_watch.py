"""reload_on_change: the files are watched; what can be used is used, what cannot is told once and changes nothing."""

import contextlib
import os
import shutil
import subprocess
import threading
import time

import pytest

from host import HostError, process_stat, wait_for
from peers import connect, refused

CLOCK_REALTIME_COARSE = 5  # of linux/time.h: the clock of files' times
BAD = "a file of the TLS configuration has changed but cannot be used"
GOOD = "a file of the TLS configuration has changed: configuration"


def number_in(path, field):
    """The number behind FIELD: in a file of /proc."""
    with open(path, encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


class Watched:
    """A host that looks at its files every second; the certificate, its key and the list of authorities are its own."""

    def __init__(self, start, certs, seconds=1, **how):
        self.certs, self.host = certs, start.make(modparams={"tls": {"reload_on_change": seconds}}, **how)
        self.put("cert", certs.server_ec.cert)
        self.put("key", certs.server_ec.key)
        self.put("ca", certs.ca.cert)
        self.put("crl", certs.crl_empty)
        self.host.tls_cfg = self.text()
        self.host.start()

    def text(self, **settings):
        """The tls.cfg."""
        values = {"method": "TLSv1.2+", "certificate": self.path("cert"), "private_key": self.path("key"),
                  "ca_list": self.path("ca"), **settings}
        return "[server:default]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) + "[client:default]\n"

    def path(self, kind):
        """A file's path."""
        return self.host.path(kind + ".pem")

    def put(self, kind, path):
        """Replaces a file by renaming, as the documentation says."""
        with open(path, encoding="ascii") as f:
            self.host.write(kind + ".pem", f.read())

    def pair(self, pair):
        """Replaces certificate and key; a look between the two may find that they do not fit."""
        self.put("key", pair.key)
        self.put("cert", pair.cert)

    def serials(self):
        """What new connections see."""
        found = set()
        for _ in range(4):
            with connect(self.host.port(), ca=self.certs.ca.cert) as client:
                assert client.ask().status == 200
                found.add(client.server_serial())
        return found

    def serves(self, pair, timeout=30):
        """Waits until new connections see this certificate, and only it."""
        wait_for(lambda: self.serials() == {pair.x509.serial_number}, timeout, "the new certificate", 0.1)

    def generation(self):
        """Number of the configuration in use."""
        return self.host.rpc("tls.info")["generation"]

    def bad(self, since):
        """Waits for the line that says that a change cannot be used; fails if a good one is told first."""
        self.host.wait_log(BAD, since=since)
        assert GOOD not in self.host.log()[since:]

    def watcher(self):
        """The process that looks at the files."""
        pids = [pid for pid, name in self.host.pids().items() if "TLS file watcher" in name]
        assert len(pids) == 1
        return pids[0]

    def asleep(self):
        """Waits for the end of a look that is under way."""
        pid = self.watcher()
        wait_for(lambda: process_stat(pid)[1][0] == "S", 20, "the end of the look", 0.001)

    def looks(self, count):
        """Lets so many looks pass: after each the watcher goes to sleep."""
        self.asleep()
        path = f"/proc/{self.watcher()}/status"
        last = number_in(path, "voluntary_ctxt_switches") + count
        wait_for(lambda: number_in(path, "voluntary_ctxt_switches") >= last, 20 + 2 * count, "the looks at the files")

    def reset(self):
        """The first files again, and nothing left for a look to do."""
        self.host.write("tls.cfg", self.text())
        self.put("ca", self.certs.ca.cert)
        self.put("crl", self.certs.crl_empty)
        self.pair(self.certs.server_ec)
        # A file that is as new as its reading is read once more at the next look, by a clock that goes in steps.
        changed = os.stat(self.host.path("tls.cfg")).st_ctime_ns
        wait_for(lambda: time.clock_gettime_ns(CLOCK_REALTIME_COARSE) > changed, 20, "the files to age", 0.001)
        wait_for(self.reload, 20, "a reload that no look was in the way of")
        self.asleep()  # one that saw the change may load it again

    def reload(self):
        """tls.reload; whether it was done, or had to stand back behind the reload of a look."""
        try:
            return self.host.rpc("tls.reload")
        except HostError as e:
            if "another reload is in progress" not in str(e):
                raise
            return None


@pytest.fixture(scope="module")
def shared(module_host, certs):
    """The host of most tests."""
    return Watched(module_host, certs)


@pytest.fixture
def watched(shared):
    """The same on its first files, alive before and after."""
    shared.host.revive()
    shared.reset()
    yield shared
    shared.host.check_alive()


def test_good_bad_good(watched, certs):
    """Whatever came before, the next good files count; connections that stand stay."""
    with connect(watched.host.port()) as held:
        watched.pair(certs.server_ec2)
        watched.serves(certs.server_ec2)
        number, since = watched.generation(), len(watched.host.log())
        watched.put("cert", certs.malformed["text"])
        watched.bad(since)
        assert watched.path("cert") in watched.host.log()[since:], "the log does not say which file"
        assert watched.serials() == {certs.server_ec2.x509.serial_number} and watched.generation() == number
        watched.pair(certs.server_rsa)
        watched.serves(certs.server_rsa)
        assert held.ask().status == 200


def test_half_written_file(watched, certs):
    """Somebody writes in place, slowly: half a file is told, the old goes on, the whole one is taken."""
    with open(certs.server_ec2.cert, encoding="ascii") as f:
        text = f.read()
    watched.put("key", certs.server_ec2.key)
    since = len(watched.host.log())
    with open(watched.path("cert"), "w", encoding="ascii") as f:
        f.write(text[:len(text) // 2])
        f.flush()
        watched.bad(since)
        assert watched.serials() == {certs.server_ec.x509.serial_number}
        f.write(text[len(text) // 2:])
    watched.serves(certs.server_ec2)


def test_key_before_its_certificate(watched, certs):
    """A look between the two replacements finds a pair that does not fit; the second replacement makes it good."""
    since = len(watched.host.log())
    watched.put("key", certs.server_rsa.key)
    watched.bad(since)
    assert "private key does not match the certificate" in watched.host.log()[since:]
    assert watched.serials() == {certs.server_ec.x509.serial_number}
    watched.put("cert", certs.server_rsa.cert)
    watched.serves(certs.server_rsa)


def test_bad_file_is_told_once(watched, certs):
    """Not at every look; another bad one is told again."""
    since = len(watched.host.log())
    watched.put("cert", certs.malformed["text"])
    watched.bad(since)
    failed = int(watched.host.rpc("stats.fetch", "tls:")["tls.reloads_failed"])
    watched.looks(2)
    assert watched.host.log()[since:].count(BAD) == 1
    assert int(watched.host.rpc("stats.fetch", "tls:")["tls.reloads_failed"]) == failed
    watched.put("cert", certs.malformed["cut"])
    wait_for(lambda: watched.host.log()[since:].count(BAD) == 2, 20, "the second complaint")


def test_old_file_comes_back(watched, certs):
    """A bad file, and then the very one from before (moved away and back): nothing is wrong any more."""
    os.rename(watched.path("cert"), watched.path("away"))
    since = len(watched.host.log())
    watched.bad(since)
    os.rename(watched.path("away"), watched.path("cert"))
    wait_for(lambda: GOOD in watched.host.log()[since:], 20, "the file to be taken again")
    assert watched.serials() == {certs.server_ec.x509.serial_number}
    watched.pair(certs.server_ec2)
    watched.serves(certs.server_ec2)


def test_same_bad_file_after_a_good_one(watched, certs):
    """Bad, good, bad again: each is told."""
    for pair in (certs.server_rsa, certs.server_ec2):
        since = len(watched.host.log())
        watched.put("cert", certs.malformed["text"])
        watched.bad(since)
        watched.pair(pair)
        wait_for(lambda at=since: GOOD in watched.host.log()[at:], 20, "the good one")
    watched.serves(certs.server_ec2)


def test_tls_cfg_itself(watched, certs):
    """The domains' file is watched, too, and then what it names."""
    strict = {"verify_certificate": "yes", "require_certificate": "yes", "crl": watched.path("crl")}
    since = len(watched.host.log())
    watched.host.write("tls.cfg", "nonsense\n")
    watched.bad(since)
    watched.host.write("tls.cfg", watched.text(**strict))
    wait_for(lambda: refused(watched.host.port()), 30, "the stricter rules", 0.1)
    assert not refused(watched.host.port(), pair=certs.client_revoked)
    watched.put("crl", certs.crl_revoked)
    wait_for(lambda: refused(watched.host.port(), pair=certs.client_revoked), 30, "the revocation list to count", 0.1)
    watched.put("ca", certs.other_ca.cert)
    wait_for(lambda: not refused(watched.host.port(), pair=certs.client_wrong_ca)
             or refused(watched.host.port(), pair=certs.client_good), 30, "the other authority", 0.1)
    assert refused(watched.host.port(), pair=certs.client_good)


def test_reload_by_hand_is_not_done_again(watched, certs):
    """tls.reload before the look: there is nothing left for it."""
    watched.pair(certs.server_ec2)
    wait_for(watched.reload, 20, "a reload that no look was in the way of")
    watched.asleep()
    number = watched.generation()
    watched.looks(1)
    assert watched.generation() == number and watched.serials() == {certs.server_ec2.x509.serial_number}


def test_folder_of_authorities(start_host, certs):
    """ca_path: an authority that is added, and one whose file is written over, which leaves the folder as it was."""
    host = start_host.make(modparams={"tls": {"reload_on_change": 1}})
    os.mkdir(host.path("cas"))

    def name(pair):
        words = ["openssl", "x509", "-noout", "-subject_hash", "-in", pair.cert]
        return os.path.join(host.path("cas"), subprocess.check_output(words, text=True).strip() + ".0")

    shutil.copy(certs.ca.cert, name(certs.ca))
    rules = {"verify_certificate": "yes", "require_certificate": "yes", "ca_path": host.path("cas")}
    host.tls_cfg = f"[server:default]\n{certs.server_ec.section(**rules)}\n[client:default]\n"
    host.start()
    assert refused(host.port(), pair=certs.client_wrong_ca) and not refused(host.port(), pair=certs.client_good)
    shutil.copy(certs.other_ca.cert, name(certs.other_ca))
    wait_for(lambda: not refused(host.port(), pair=certs.client_wrong_ca), 30, "the new authority", 0.1)
    shutil.copy(certs.other_ca.cert, name(certs.ca))
    wait_for(lambda: refused(host.port(), pair=certs.client_good), 30, "the old authority to go", 0.1)


def test_changes_under_traffic(watched, certs, load):
    """Files change every second while clients come and go: nobody is failed, and memory does not grow."""
    host, pairs = watched.host, (certs.server_ec2, certs.server_rsa, certs.server_ec)

    def traffic(rounds):
        with contextlib.ExitStack() as held:
            clients = [held.enter_context(connect(host.port())) for _ in range(4)]
            running = load.start(host.port(), connections=150 * rounds, parallel=10, rate=100, time_limit=100)
            for i in range(rounds):
                watched.pair(pairs[i % 3])
                watched.serves(pairs[i % 3])
                assert {client.ask(cseq=i + 1).status for client in clients} == {200}
            counts = load.finish(running)
            assert counts["failed"] == 0, counts
        host.wait_no_connections()
        return host.shm_live()

    limit = traffic(2) * 1.01
    assert traffic(2) <= limit or host.shm_settled(limit) <= limit


def test_off_by_default(start_host, certs):
    """Without the setting nobody looks, and there is no process for it."""
    host = start_host(tls_cfg=f"[server:default]\n{certs.server_ec.section()}\n[client:default]\n")
    assert not any("watcher" in name for name in host.pids().values())
    host.write("tls.cfg", "nonsense\n")
    threading.Event().wait(2.1)
    assert "nonsense" not in host.log() and BAD not in host.log()
    with connect(host.port(), ca=certs.ca.cert) as client:
        assert client.ask().status == 200


def test_unchanged_files_cost_nothing(watched, certs):
    """One process, by its own name; where nothing has changed it does nothing, and reads none of the files."""
    io = f"/proc/{watched.watcher()}/io"
    if not os.path.exists(io):
        pytest.skip("the kernel does not tell how much a process reads")
    number, since, before = watched.generation(), len(watched.host.log()), number_in(io, "rchar")
    watched.looks(2)
    assert number_in(io, "rchar") == before, "bytes read in two looks"
    assert watched.generation() == number and "configuration" not in watched.host.log()[since:]
    watched.pair(certs.server_ec2)
    watched.serves(certs.server_ec2)
    assert number_in(io, "rchar") >= before + os.path.getsize(certs.server_ec2.cert), "it is not this process that reads"
