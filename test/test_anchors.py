"""Trust anchors: those with OpenSSL's trust attributes (BEGIN TRUSTED CERTIFICATE), and those that anchor nothing."""

import os
import ssl
import subprocess

import pytest

from certs import Pair
from peers import connect, refused


def trusted(certs, filename, pair, *attributes):
    """The first certificate of PAIR as OpenSSL writes it with trust attributes."""
    done = subprocess.run(["openssl", "x509", "-in", pair.cert, "-trustout", *attributes], stdout=subprocess.PIPE, check=True)
    assert b"BEGIN TRUSTED CERTIFICATE" in done.stdout
    return certs.write(filename, done.stdout)


def hashed(certs, name, path):
    """A folder with this file in it under its hashed name, as "openssl rehash" would make it."""
    folder = certs.path(name)
    os.makedirs(folder, exist_ok=True)
    subject = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-subject_hash"], stdout=subprocess.PIPE, check=True)
    link = os.path.join(folder, subject.stdout.decode().strip() + ".0")
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(path, link)
    return folder


def serving(certs, **more):
    """A tls.cfg whose server demands certificates."""
    pair = certs.server_ec.section(verify_certificate="yes", require_certificate="yes", **more)
    return f"[server:default]\n{pair}\n[client:default]\nmethod = TLSv1.2+\n"


# -- trust attributes ------------------------------------------------------------------------------------------------

# Attributes of the root, and whether a client's certificate below it is verified.
ATTRIBUTES = {
    "none": ([], True),
    "a name": (["-setalias", "our root"], True),
    "for clients": (["-addtrust", "clientAuth"], True),
    "for all": (["-addtrust", "anyExtendedKeyUsage"], True),
    "not for clients": (["-addreject", "clientAuth"], False),
    "not for servers": (["-addreject", "serverAuth"], True),
    "for all but clients": (["-addtrust", "anyExtendedKeyUsage", "-addreject", "clientAuth"], False),
    "for servers": (["-addtrust", "serverAuth"], False),
    "for mail": (["-addtrust", "emailProtection"], False),
}


@pytest.mark.parametrize("module", ["ours", "packaged"])
@pytest.mark.parametrize("case", ATTRIBUTES)
def test_attributes_of_an_authority(start_host, certs, case, module):
    """ca_list and ca_path take them, and they mean the same as in the packaged module: OpenSSL's rules.

    That one wants a plain certificate in the same ca_list, too.
    """
    attributes, good = ATTRIBUTES[case]
    root = trusted(certs, "trusted-root.pem", certs.ca, *attributes)
    with open(root, "rb") as a, open(certs.client_self_signed.cert, "rb") as b:
        both = certs.write("trusted-and-plain.pem", a.read() + b.read())
    for name, setting in ("ca_list", both), ("ca_path", hashed(certs, "trusted-folder", root)):
        if name == "ca_path" and case not in ("none", "not for clients", "for servers"):
            continue
        host = start_host(module=module, tls_cfg=serving(certs, **{name: setting}))
        assert refused(host.port(), pair=certs.client_good, ca=certs.ca.cert) != good, (name, setting)
        assert refused(host.port(), pair=certs.client_wrong_ca, ca=certs.ca.cert)
        host.stop()


@pytest.mark.parametrize("module", ["ours", "packaged"])
def test_server_certificate_with_attributes(start_host, certs, module):
    """Peers get the plain certificate, without what is ours alone; also what is behind it in the file."""
    pair = certs.server_chained
    path = trusted(certs, "trusted-server.pem", pair, "-addreject", "serverAuth", "-setalias", "ours")
    with open(path, "a", encoding="ascii") as f:
        f.write(certs.pem(certs.intermediate.x509).decode())
    host = start_host(module=module, modparams=Pair(path, pair.key, pair.x509, pair.private).params())
    with connect(host.port(), ca=certs.ca.cert) as client:
        assert client.tls.getpeercert(True) == ssl.PEM_cert_to_DER_cert(certs.pem(pair.x509).decode())
        assert client.ask().status == 200


@pytest.mark.parametrize("purpose, good", [("clientAuth", True), ("serverAuth", False)])
def test_intermediate_that_is_trusted_itself(start_host, certs, purpose, good):
    """It needs no root for the purpose that it is trusted for."""
    middle = trusted(certs, "trusted-intermediate.pem", certs.intermediate, "-addtrust", purpose)
    host = start_host(tls_cfg=serving(certs, ca_list=middle))
    assert refused(host.port(), pair=certs.client_no_chain, ca=certs.ca.cert) != good
    assert refused(host.port(), pair=certs.client_good, ca=certs.ca.cert)


def test_whole_chain_with_attributes(start_host, certs):
    """The authorities of a chain, too, and a certificate that is alone and completed from ca_list."""
    pair = certs.server_chained
    leaf = trusted(certs, "trusted-leaf.pem", pair, "-addtrust", "serverAuth")
    middle = trusted(certs, "trusted-middle.pem", certs.intermediate, "-addtrust", "serverAuth")
    with open(leaf, "rb") as a, open(middle, "rb") as b, open(certs.ca.cert, "rb") as root:
        middle_text = b.read()
        whole = certs.write("trusted-chain.pem", a.read() + middle_text)
        anchors = certs.write("trusted-anchors.pem", middle_text + root.read())
    for more in {"certificate": whole}, {"certificate": leaf, "ca_list": anchors}:
        host = start_host(modparams=pair.params(**more))
        with connect(host.port(), ca=certs.ca.cert) as client:
            assert client.ask().status == 200
        host.stop()
