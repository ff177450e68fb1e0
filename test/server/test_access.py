"""Files that only root can read, and a server that starts as root and becomes another user."""

import grp
import os
import pwd
import re
import shutil

import pytest

from host import wait_for
from peers import connect
from test_watch import BAD, GOOD, Watched

USER = "nobody"
GROUP = grp.getgrgid(pwd.getpwnam(USER).pw_gid).gr_name
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
RENEWED_IN_VAIN = "no reload can load a renewed file"


class Site(Watched):
    """A host that becomes another user; its files are in folders of their own, the configuration in conf."""

    def __init__(self, start, certs, settings=None, **how):  # pylint: disable=super-init-not-called
        self.certs = certs
        self.host = start.make(settings={"user": f'"{USER}"', **(settings or {})}, **how)
        os.chmod(self.host.dir, 0o755)
        for folder in ("live", "archive", "cas", "conf"):
            os.mkdir(self.host.path(folder), 0o755)
        self.put("cert", certs.server_ec.cert)
        self.put("key", certs.server_ec.key)
        self.put("ca", certs.ca.cert)
        self.put("crl", certs.crl_empty)
        self.host.write("conf/tls.cfg", self.text())
        self.host.modparams.setdefault("tls", {})["config"] = self.host.path("conf/tls.cfg")

    def path(self, kind):
        return self.host.path(f"live/{kind}.pem")

    def put(self, kind, path):
        with open(path, encoding="ascii") as f:
            self.host.write(f"live/{kind}.pem", f.read())
        os.chmod(self.path(kind), 0o644)

    def checked(self):
        """The warnings of -c that are about what may be read."""
        status, said = self.host.check_config()
        assert status == 0, said
        return warnings(said)


def warnings(log):
    """The lines of a log that say who may not read what."""
    return [line for line in log.splitlines() if RENEWED_IN_VAIN in line]


def gauges(host):
    """What the statistics say of files."""
    found = host.rpc("stats.fetch", "tls:")
    info = host.rpc("tls.info")
    assert int(found["tls.files_unreadable"]) == info["files_unreadable"]
    return {"unreadable": info["files_unreadable"], "changed": info["files_changed"]}


# -- at the start, and in kamailio -c --------------------------------------------------------------------------------

def test_nothing_to_say(start_host, certs):
    """A group of the user's may read the key, by its access list or not: that is well."""
    site = Site(start_host, certs)
    os.chown(site.path("key"), 0, grp.getgrnam(GROUP).gr_gid)
    os.chmod(site.path("key"), 0o640)
    assert site.checked() == []
    site.host.start()
    assert warnings(site.host.log()) == [] and gauges(site.host) == {"unreadable": 0, "changed": 0}
    assert {os.stat(f"/proc/{pid}").st_uid for pid in site.host.workers()} == {pwd.getpwnam(USER).pw_uid}
    assert site.host.rpc("tls.reload") and site.host.rpc("tls.check")["problems"] == []


SETTINGS = {  # setting: (the file that root alone may read, more settings)
    "certificate": "cert", "private_key": "key", "ca_list": "ca", "crl": "crl", "certificate2": "cert2", "private_key2": "key2"}


@pytest.mark.parametrize("setting", SETTINGS)
def test_file_of_root(start_host, certs, setting):
    """The warning has the line, the file, the user and what to run; doing that is enough. The start and -c say the same."""
    site = Site(start_host, certs)
    site.put("cert2", certs.server_rsa.cert)
    site.put("key2", certs.server_rsa.key)
    text = site.text(crl=site.path("crl"), certificate2=site.path("cert2"), private_key2=site.path("key2"))
    site.host.write("conf/tls.cfg", text)
    line = next(i + 1 for i, said in enumerate(text.splitlines()) if said.startswith(setting + " "))
    path = site.path(SETTINGS[setting])
    os.chmod(path, 0o600)
    said = site.checked()
    assert len(said) == 1, said
    assert re.search(rf"tls\.cfg:{line}: {setting}: {path}: the server runs as user {USER}, who may not read it: .* run chgrp {GROUP} "
                     r"and chmod g\+r on that", said[0]), said
    os.chown(path, 0, grp.getgrnam(GROUP).gr_gid)
    os.chmod(path, 0o640)
    assert site.checked() == []


def test_folder_of_the_configuration(start_host, certs):
    site = Site(start_host, certs)
    os.chmod(site.host.path("conf"), 0o700)
    said = site.checked()
    assert len(said) == 1 and "/conf/tls.cfg: " in said[0] and f"may not enter {site.host.path('conf')}: " in said[0], said
    os.chmod(site.host.path("conf"), 0o755)
    os.chmod(site.host.path("conf/tls.cfg"), 0o600)
    said = site.checked()
    assert len(said) == 1 and "/conf/tls.cfg: " in said[0] and "may not read it" in said[0], said


@pytest.mark.parametrize("case", ["folder", "list", "file in it"])
def test_folder_of_authorities(start_host, certs, case):
    site = Site(start_host, certs)
    shutil.copy(certs.ca.cert, site.host.path("cas/01234567.0"))
    site.host.write("conf/tls.cfg", site.text(ca_path=site.host.path("cas")))
    assert site.checked() == []
    if case == "file in it":
        os.chmod(site.host.path("cas/01234567.0"), 0o600)
    else:
        os.chmod(site.host.path("cas"), 0o700 if case == "folder" else 0o711)
    said = site.checked()
    assert said and all(": ca_path: " in line and site.host.path("cas") in line for line in said) and len(said) <= 2, said


def certbot(site):
    """The folders as certbot makes them: live and archive are root's, live/NAME has links to archive/NAME."""
    for folder, mode in (("le", 0o755), ("le/live", 0o700), ("le/archive", 0o700), ("le/live/x", 0o755), ("le/archive/x", 0o755)):
        os.mkdir(site.host.path(folder))
        os.chmod(site.host.path(folder), mode)
    renewed_by_certbot(site, site.certs.server_ec, 1)
    live = site.host.path("le/live/x")
    site.host.write("conf/tls.cfg", site.text(certificate=f"{live}/fullchain.pem", private_key=f"{live}/privkey.pem"))


def renewed_by_certbot(site, pair, number):
    """New files in archive, new links in live."""
    for name, path in (("fullchain", pair.cert), ("privkey", pair.key)):
        shutil.copyfile(path, site.host.path(f"le/archive/x/{name}{number}.pem"))
        os.chmod(site.host.path(f"le/archive/x/{name}{number}.pem"), 0o644)
        os.symlink(f"../../archive/x/{name}{number}.pem", site.host.path("le/live/x/new"))
        os.rename(site.host.path("le/live/x/new"), site.host.path(f"le/live/x/{name}.pem"))


def test_folders_of_certbot(start_host, certs):
    """Each folder in the way is told once, however many files are behind it: also one that only links lead to."""
    site = Site(start_host, certs)
    certbot(site)
    said = site.checked()
    assert len(said) == 1 and f"(and 1 more): the server runs as user {USER}, who may not enter {site.host.path('le/live')}: " in said[0], said
    os.chmod(site.host.path("le/live"), 0o755)
    said = site.checked()
    assert len(said) == 1 and f"may not enter {site.host.path('le/archive')}: " in said[0] and "chmod g+x" in said[0], said
    os.chmod(site.host.path("le/archive"), 0o755)
    assert site.checked() == []


def test_group_alone(start_host, certs):
    """With group, and without user, the server stays root: it may read everything."""
    site = Site(start_host, certs)
    del site.host.settings["user"]
    site.host.settings["group"] = f'"{GROUP}"'
    os.chmod(site.path("key"), 0o600)
    assert site.checked() == []


# -- while the server runs -------------------------------------------------------------------------------------------

def test_key_of_root_is_renewed(start_host, certs):
    """The key may be looked at, but not read: each renewal fails in words, and counts; when the key is readable, it is loaded."""
    site = Site(start_host, certs, modparams={"tls": {"reload_on_change": 1}})
    os.chmod(site.path("key"), 0o600)
    site.host.start()
    assert len(warnings(site.host.log())) == 1
    site.looks(2)
    assert BAD not in site.host.log() and gauges(site.host) == {"unreadable": 1, "changed": 0}
    assert any(RENEWED_IN_VAIN in p["text"] for p in site.host.rpc("tls.check")["problems"])

    for round_, pair in enumerate((certs.server_ec2, certs.server_rsa)):
        since = len(site.host.log())
        key = site.host.write("live/key.new.pem", "")
        os.chmod(key, 0o600)
        shutil.copyfile(pair.key, key)
        site.put("cert", pair.cert)
        os.rename(key, site.path("key"))
        site.bad(since)
        wait_for(lambda at=since: f"{site.path('key')}: Permission denied: user {USER} may not read it" in site.host.log()[at:], 20,
                 "the reason")
        assert site.serials() == {certs.server_ec.x509.serial_number}
        assert gauges(site.host) == {"unreadable": 1, "changed": 2}
        assert int(site.host.rpc("stats.fetch", "tls:")["tls.reloads_failed"]) > round_
    os.chmod(site.path("key"), 0o644)
    site.serves(certs.server_rsa)
    assert gauges(site.host) == {"unreadable": 0, "changed": 0}


def test_renewal_in_a_closed_folder(start_host, certs):
    """Who cannot look does not say that anything has changed; tls.reload says what is in the way; opened, all is well."""
    site = Site(start_host, certs, modparams={"tls": {"reload_on_change": 1}})
    certbot(site)
    site.host.start()
    assert len(warnings(site.host.log())) == 1
    renewed_by_certbot(site, certs.server_ec2, 2)
    site.looks(2)
    assert BAD not in site.host.log() and GOOD not in site.host.log()
    assert gauges(site.host) == {"unreadable": 2, "changed": 0}
    since = len(site.host.log())
    assert "Permission denied" in site.host.rpc_error("tls.reload")
    assert f"Permission denied: user {USER} may not enter the folder {site.host.path('le/live')}" in site.host.log()[since:]
    for folder in ("live", "archive"):
        os.chmod(site.host.path(f"le/{folder}"), 0o755)
    site.serves(certs.server_ec2)
    assert gauges(site.host) == {"unreadable": 0, "changed": 0}


def test_folder_that_is_closed_while_the_server_runs(start_host, certs):
    """That is said once, and not as a change; a second time when it happens again."""
    site = Site(start_host, certs, modparams={"tls": {"reload_on_change": 1}})
    site.host.start()
    words = rf"user {USER} may not read [23] of the files of the TLS configuration, such as {site.path('cert')}"
    for _ in range(2):
        since = len(site.host.log())
        os.chmod(site.host.path("live"), 0o700)
        site.host.wait_log(words, since=since)
        site.looks(2)
        log = site.host.log()[since:]
        assert len(re.findall(words, log)) == 1 and BAD not in log, log
        os.chmod(site.host.path("live"), 0o755)
        site.looks(2)
    assert GOOD not in site.host.log()
    with connect(site.host.port(), ca=certs.ca.cert) as client:
        assert client.ask().status == 200
