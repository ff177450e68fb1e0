"""What loads and does not do what it looks like: one line each that says where and what to do, by tls.check, -c and at the start."""

import os
import subprocess

import pytest

from peers import refused

ANY, PORT = "tls:127.0.0.1", "tls:127.0.0.2"


def check(host, text, mode=0o640):
    """What tls.check says of this tls.cfg: [(severity, text without the folder)]."""
    os.chmod(host.write("tls.cfg", text), mode)
    said = host.rpc("tls.check")["problems"]
    return [(p["severity"], p["text"].replace(host.dir + "/", "")) for p in said]


def one_line(host, text, severity, *words, mode=0o640):
    """Exactly one line, with these words; -c shows it, too."""
    said = check(host, text, mode)
    assert len(said) == 1 and said[0][0] == severity, said
    assert all(word in said[0][1] for word in words), f"{said} instead of {words}"
    command = [*host.wrapper, *host.command("-c", "-E")[len(host.wrapper):]]
    done = subprocess.run(command, cwd=host.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == (1 if severity == "error" else 0), done.stdout[-2000:]
    shown = done.stdout.decode(errors="replace").replace(host.dir + "/", "")
    assert said[0][1] in shown and shown.count(" tls [") == 1 + (severity == "error"), shown


@pytest.fixture(scope="module")
def host(module_host, certs):
    """One host looks at all files."""
    text = f"[server:default]\n{certs.server_ec.section()}[client:default]\nverify_certificate = yes\nca_list = {certs.ca.cert}\n"
    return module_host(tls_cfg=text, listen=["udp:127.0.0.1", ANY, PORT])


# -- the name leads around a port's demand for certificates --------------------------------------------------------------

def two_ports(host, certs, more=""):
    """Certificates are demanded at PORT, a name is for everybody: {server}, {port} and {trust} stand in `more`."""
    pieces = {"server": certs.server_ec.section(), "port": f"127.0.0.2:{host.port(PORT)}",
              "trust": f"require_certificate = yes\nca_list = {certs.ca.cert}\n"}
    return ("[server:default]\n{server}[server:{port}]\n{server}{trust}[server:any]\nserver_name = sip.example.test\n{server}"
            + more).format(**pieces)


def lets_in(host, certs, text, pair=None):
    """Whether a client with this certificate gets in at PORT by the name."""
    host.write("tls.cfg", text)
    host.rpc("tls.reload")
    return not refused(host.port(PORT), address="127.0.0.2", server_name="sip.example.test", ca=certs.ca.cert, pair=pair)


def test_name_that_leads_around_a_demand(host, certs):
    """The warning tells the truth: this is what a stranger can do, and what is advised ends it."""
    text = two_ports(host, certs)
    one_line(host, text, "warning", f"tls.cfg:5: server:127.0.0.2:{host.port(PORT)}: clients must show a certificate here",
             "asks for sip.example.test", "tls.cfg:11 (server:any (sip.example.test)) serves it")
    assert lets_in(host, certs, text)
    assert refused(host.port(PORT), address="127.0.0.2", server_name=None)
    mended = two_ports(host, certs, "[server:{port}]\nserver_name = sip.example.test\n{server}{trust}")
    assert not check(host, mended)
    assert not lets_in(host, certs, mended) and lets_in(host, certs, mended, certs.client_good)


def test_demand_of_a_port_with_named_sections_only(host, certs):
    """Another name than those leads to the default section."""
    text = two_ports(host, certs).replace("[server:any]\nserver_name = sip.example.test\n", "[server:127.0.0.9]\n").replace(
        f"[server:127.0.0.2:{host.port(PORT)}]\n", f"[server:127.0.0.2:{host.port(PORT)}]\nserver_name = other.test\n")
    one_line(host, text, "warning", "tls.cfg:5: ", "asks for any other name", "tls.cfg:1 (server:default) serves it")
    assert lets_in(host, certs, text)
    assert refused(host.port(PORT), address="127.0.0.2", server_name=None)


# -- addresses, passwords -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("address", ["0.0.0.0:5061", "[::]:5061"])
def test_address_that_no_connection_has(host, certs, address):
    text = f"[server:default]\n{certs.server_ec.section()}[server:{address}]\n{certs.server_ec.section()}"
    one_line(host, text, "warning", f"tls.cfg:5: server:{address}: no connection has this address")


def test_password_that_everybody_may_read(host, certs):
    text = f"[server:default]\n{certs.server_ec.section(private_key=certs.key_encrypted, private_key_password='secret')}"
    one_line(host, text, "warning", "tls.cfg:5: every user of this machine may read this file", "chmod o-rw", mode=0o644)
    assert not check(host, text)
