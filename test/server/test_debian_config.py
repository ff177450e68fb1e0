"""Debian's own /etc/kamailio/kamailio.cfg and tls.cfg, with TLS switched on, on this module."""

import os
import re

import pytest

from peers import connect

CONFIG, TLS_CONFIG = "/etc/kamailio/kamailio.cfg", "/etc/kamailio/tls.cfg"


def adapted(host, certs):
    """The packaged configuration, with this test's ports, folder, certificate and module."""
    with open(CONFIG, encoding="utf-8") as f:
        text = f.read()
    with open(TLS_CONFIG, encoding="utf-8") as f:
        tls = f.read()
    tls = re.sub(r"^private_key = .*$", f"private_key = {certs.server_ec.key}", tls, count=1, flags=re.M)
    tls = re.sub(r"^certificate = .*$", f"certificate = {certs.server_ec.cert}", tls, count=1, flags=re.M)
    text = text.replace("#!KAMAILIO", "#!KAMAILIO\n#!define WITH_TLS", 1)
    text = text.replace('loadmodule "tls.so"', f'loadmodule "{host.module}"').replace(TLS_CONFIG, host.write("tls.cfg", tls))
    text = text.replace("enable_tls=yes", "enable_tls=yes\nlog_stderror=yes\n" + "\n".join(f"listen={spec}" for spec in host.listen))
    assert text.count('loadmodule "jsonrpcs.so"') == 1
    return re.sub(r"^(# ----- tm params -----)$",
                  f'modparam("jsonrpcs", "transport", 4)\nmodparam("jsonrpcs", "dgram_socket", "{host.path("rpc")}")\n\\1',
                  text, count=1, flags=re.M)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_phones_register(start_host, certs, version):
    """A phone registers over TLS, as the packaged script has it."""
    if not (os.path.exists(CONFIG) and os.path.exists(TLS_CONFIG)):
        pytest.skip("the packaged configuration is not installed")
    host = start_host.make(listen=["udp:127.0.0.1", "tls:127.0.0.1"])
    text = adapted(host, certs)
    host._config = lambda: text  # pylint: disable=protected-access
    host.start()
    with connect(host.port(), version=version) as client:
        domain = f"127.0.0.1:{host.port()}"
        client.send((f"REGISTER sip:{domain};transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bK1;rport\r\n"
                     f"From: <sip:alice@{domain}>;tag=1\r\nTo: <sip:alice@{domain}>\r\nCall-ID: {version}\r\n"
                     "CSeq: 1 REGISTER\r\nContact: <sip:alice@127.0.0.1:9;transport=tls>\r\nMax-Forwards: 5\r\n"
                     "User-Agent: phone\r\nExpires: 60\r\nContent-Length: 0\r\n\r\n").encode())
        reply = client.final()
        assert reply.status == 200
        assert "alice@127.0.0.1:9;transport=tls" in reply.get("contact")
        assert host.rpc("tls.list")[0]["state"] == "established"
