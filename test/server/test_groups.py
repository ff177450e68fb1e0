"""Groups for the key exchange, and compressed certificates: what is set is what goes over the wire."""

import re
import subprocess

import pytest

from host import HostError
from peers import Peer, UdpClient, openssl_client, server_context

UDP, TLS = "udp:127.0.0.1", "tls:127.0.0.1"
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])
RELAY = 'request_route {\n\t$ru = $hdr(X-Target);\n\tif (!t_relay()) sl_reply_error();\n\texit;\n}\n'
NAMES = {"secp384r1": "P-384", "secp521r1": "P-521", "prime256v1": "P-256", "secp256r1": "P-256", "x25519": "X25519", "x448": "X448"}
QUANTUM = "X25519MLKEM768"


def library(*words):
    """What openssl says of itself."""
    return subprocess.run(["openssl", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True).stdout


def knows(group):
    """Whether this OpenSSL has a group."""
    return group.lower() in library("list", "-tls-groups").lower()


def compressors():
    """Whether this OpenSSL can compress certificates."""
    disabled = set(library("list", "-disabled").split())
    return "-no_tx_cert_comp" in library("s_client", "-help") and not {"ZLIB", "BROTLI", "ZSTD"} <= disabled


def group_of(port, version, *options):
    """The group that a connection got; None when there is no connection."""
    try:
        output = openssl_client(port, "-tls" + version.replace(".", "_"), "-cipher", "ECDHE", *options)
    except (HostError, AssertionError):
        return None
    found = re.search(r"^(?:Negotiated TLS1\.3 group: |(?:Server|Peer) Temp Key: (?:ECDH, )?)(\w[\w-]*)", output, re.M)
    return NAMES.get(found[1].lower(), found[1]) if found and "SIP/2.0 200" in output else None


@BOTH
@pytest.mark.parametrize("way", ["modparam", "tls.cfg"])
def test_groups(start_host, certs, version, way):
    """Only what is listed (an RSA certificate, as TLS 1.2 wants an ECDSA key's curve to be listed, too); of that, the server's first that the client has."""
    groups = "P-384:X25519"
    if way == "modparam":
        host = start_host(modparams=certs.server_rsa.params(groups=groups))
    else:
        host = start_host(tls_cfg="[server:default]\n" + certs.server_rsa.section(groups=groups))
    assert group_of(host.port(), version, "-groups", "P-521:P-384") == "P-384"
    assert group_of(host.port(), version, "-groups", "X25519") == "X25519"
    assert group_of(host.port(), version, "-groups", "P-521") is None


@BOTH
def test_groups_of_a_name(start_host, certs, version):
    """A named section's groups count for its clients, whatever the default section has; and those of a section that has
    none are the module's."""
    host = start_host(tls_cfg="[server:default]\n" + certs.server_rsa.section(groups="P-384")
                      + "[server:any]\n" + certs.server_rsa.section(server_name="a.test", groups="X448")
                      + "[server:any]\n" + certs.server_rsa.section(server_name="b.test"))
    port = host.port()
    assert group_of(port, version, "-noservername", "-groups", "P-384") == "P-384"
    assert group_of(port, version, "-noservername", "-groups", "X448") is None
    assert group_of(port, version, "-servername", "a.test", "-groups", "X448") == "X448"
    assert group_of(port, version, "-servername", "a.test", "-groups", "P-384") is None
    for group in ("X25519", "P-256", "P-521"):
        assert group_of(port, version, "-servername", "b.test", "-groups", group) == group


def test_groups_of_a_client(start_host, certs):
    """A client's section has its own, too."""
    for groups, status in (("X448:P-384", 200), ("X25519", 477)):
        host = start_host(listen=(UDP, TLS), modules=["tm.so"], script=RELAY, modparams={"tm": {"fr_timer": 8000}},
                          tls_cfg="[server:default]\n" + certs.server_ec.section()
                          + f"[client:default]\nmethod = TLSv1.2+\ngroups = {groups}\n")
        context = server_context(certs.server_ec)
        context.set_ecdh_curve("secp384r1")
        with Peer(context) as to, UdpClient(host.port(UDP)) as udp:
            assert (udp.ask(headers=[f"X-Target: {to.uri()}"]).status == 200) == (status == 200)


@pytest.mark.parametrize("groups", ["NO-SUCH-GROUP", "P-256:NO-SUCH-GROUP", ":"])
def test_bad_groups(start_host, certs, groups):
    """A list that OpenSSL cannot read ends a start, and a reload changes nothing."""
    log = start_host.make(modparams=certs.server_ec.params(groups=groups)).refuses()
    assert f'groups: "{groups}": OpenSSL refuses it' in log
    good = "[server:default]\n" + certs.server_ec.section(groups="P-384")
    host = start_host(tls_cfg=good)
    host.write("tls.cfg", "[server:default]\n" + certs.server_ec.section(groups=f'"{groups}"'))
    with pytest.raises(HostError, match="groups"):
        host.rpc("tls.reload")
    assert group_of(host.port(), "1.3", "-groups", "P-521:P-384") == "P-384"
    host.write("tls.cfg", "[server:default]\n" + certs.server_ec.section(groups="P-521"))
    host.rpc("tls.reload")
    assert group_of(host.port(), "1.3", "-groups", "P-521:P-384") == "P-521"


def test_quantum_by_default(start_host, certs):
    """With OpenSSL 3.5 and newer a client that can gets the hybrid group, without any setting; one that cannot does not."""
    if not knows(QUANTUM):
        pytest.skip("this OpenSSL has no post-quantum groups: they came with 3.5")
    host = start_host(modparams=certs.server_ec.params())
    assert group_of(host.port(), "1.3") == QUANTUM
    assert group_of(host.port(), "1.3", "-groups", "X25519") == "X25519"
    assert group_of(host.port(), "1.2") == "X25519"
    assert group_of(host.port(), "1.3", "-groups", "ffdhe2048") is None
    other = start_host(modparams=certs.server_ec.params(groups="X25519:P-256"))
    assert group_of(other.port(), "1.3") == "X25519"
    assert group_of(other.port(), "1.3", "-groups", QUANTUM) is None


# -- compressed certificates -----------------------------------------------------------------------------------------------

def seen(port, version, *options):
    """What openssl s_client tells of the messages, and whether the request was answered."""
    output = openssl_client(port, "-tls" + version.replace(".", "_"), "-msg", *options)
    assert "SIP/2.0 200" in output, output[-2000:]
    return output


def test_without_a_compressor(start_host, certs):
    if compressors():
        pytest.skip("this OpenSSL has a compressor")
    host = start_host(modparams=certs.server_ec.params(certificate_compression=1))
    assert "certificate_compression: has no effect: this OpenSSL" in host.log()
    seen(host.port(), "1.3")


@pytest.mark.parametrize("kind", ["server_ec", "server_rsa", "server_chained"])
@pytest.mark.parametrize("on", [0, 1])
def test_compressed_certificates(start_host, certs, kind, on):
    """The server's and the client's, in all processes; TLS 1.2 has nothing of the kind; a reload keeps it."""
    if not compressors():
        pytest.skip("this OpenSSL cannot compress certificates")
    client = certs.client_chained
    how = {"ca_list": certs.ca.cert, "verify_client": "on", "method": "TLSv1.2+"}
    host = start_host(tls_cfg="[server:default]\n" + getattr(certs, kind).section(**how),
                      modparams={"tls": {"certificate_compression": on}})
    options = ("-CAfile", certs.ca.cert, "-verify_return_error", "-cert", client.cert, "-key", client.key, "-cert_chain", client.cert)
    for turn in range(2):
        for _ in range(8):
            output = seen(host.port(), "1.3", *options)
            assert len(re.findall(r"<<< .*CompressedCertificate", output)) == on, output
            assert len(re.findall(r">>> .*CompressedCertificate", output)) == on, output
        assert "CompressedCertificate" not in seen(host.port(), "1.2", *options)
        if not turn:
            host.rpc("tls.reload")
    host.check_alive()
