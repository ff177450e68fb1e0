"""Certificates for the tests: one name for each scenario, made when first asked for, kept for the session.

    certs = Certs(folder)
    certs.server_ec.cert, certs.server_ec.key        paths of PEM files
    certs.ca.cert                                    the authority that everything trusts

Needs the Debian package python3-cryptography.
"""

import datetime
import functools
import ipaddress
import os
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

NOW = datetime.datetime.utcnow().replace(microsecond=0)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate file (leaf first, then its chain) and the file of its key."""

    cert: str
    key: str
    x509: x509.Certificate
    private: object

    def params(self, **more):
        """Module parameters that serve this pair, and more of them."""
        return {"tls": {"tls_method": "TLSv1.2+", "certificate": self.cert, "private_key": self.key, **more}}

    def section(self, **more):
        """The same as lines of a tls.cfg section."""
        values = {"method": "TLSv1.2+", "certificate": self.cert, "private_key": self.key, **more}
        return "".join(f"{key} = {value}\n" for key, value in values.items())


def scenario(make):
    """One named scenario: made once, on first use."""
    return functools.cached_property(make)


def name(cn=None, **rest):
    """A subject: name("a", o="Org", c="DE"); None as cn leaves it out, "" as any value is an empty field."""
    oids = {"c": NameOID.COUNTRY_NAME, "st": NameOID.STATE_OR_PROVINCE_NAME, "l": NameOID.LOCALITY_NAME,
            "o": NameOID.ORGANIZATION_NAME, "ou": NameOID.ORGANIZATIONAL_UNIT_NAME, "uid": NameOID.USER_ID}
    parts = [x509.NameAttribute(oids[k], v) for k, v in rest.items()]
    if cn is not None:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, cn))
    return x509.Name(parts)


def san(*names):
    """Alternative names from "DNS:a", "URI:sip:a", "IP:127.0.0.1", "email:a@b"."""
    kinds = {"DNS": x509.DNSName, "URI": x509.UniformResourceIdentifier, "email": x509.RFC822Name,
             "IP": lambda text: x509.IPAddress(ipaddress.ip_address(text))}
    return x509.SubjectAlternativeName([kinds[n.split(":", 1)[0]](n.split(":", 1)[1]) for n in names])


def der(tag, content):
    """One DER element; content shorter than 64 KB."""
    size = len(content)
    length = bytes([size]) if size < 128 else (
        bytes([0x81, size]) if size < 256 else bytes([0x82, size >> 8, size & 255]))
    return bytes([tag]) + length + content


def raw_san(*elements):
    """Alternative names as raw bytes, for what no library would write: (tag, content) pairs."""
    content = der(0x30, b"".join(der(tag, value) for tag, value in elements))
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, content)


SERVER_SAN = ("DNS:localhost", "DNS:sip.example.test", "URI:sip:example.test", "IP:127.0.0.1", "IP:::1",
              "email:postmaster@example.test")


class Certs:
    """All scenarios, by attribute; the files stand in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self._serial = 1000

    # -- building blocks ----------------------------------------------------------------------------------

    def path(self, filename):
        """A path in the folder."""
        return os.path.join(self.folder, filename)

    def write(self, filename, data):
        """Writes bytes or text and returns the path."""
        with open(self.path(filename), "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
        return self.path(filename)

    def secret(self, filename, data):
        """The same for what only its owner may read."""
        path = self.write(filename, data)
        os.chmod(path, 0o600)
        return path

    @staticmethod
    def new_key(kind="ec"):
        """A fresh private key: ec, rsa or ed25519."""
        if kind == "rsa":
            return rsa.generate_private_key(65537, 2048)
        return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())

    @staticmethod
    def pem(certificate):
        """A certificate as PEM."""
        return certificate.public_bytes(serialization.Encoding.PEM)

    @staticmethod
    def key_pem(key, password=None):
        """A private key as PEM, encrypted if there is a password."""
        lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)

    def issue(self, subject, key, issuer=None, *, ca=False, extensions=(), start=NOW - DAY, end=NOW + 30 * DAY,
              usage=None, path_length=None):
        """Signs one certificate; issuer is a Pair, or None for a self-signed one."""
        self._serial += 1
        builder = (x509.CertificateBuilder().subject_name(subject).serial_number(self._serial)
                   .issuer_name(issuer.x509.subject if issuer else subject).public_key(key.public_key())
                   .not_valid_before(start).not_valid_after(end)
                   .add_extension(x509.BasicConstraints(ca, path_length if ca else None), True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        if ca:
            bits = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                                  "key_agreement", "encipher_only", "decipher_only"), False)
            builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **bits), True)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), False)
        for extension in extensions:
            builder = builder.add_extension(extension, False)
        signer = issuer.private if issuer else key
        return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())

    def pair(self, filename, subject, issuer=None, kind="ec", chain=(), **how):
        """Makes a key and its certificate, and writes FILENAME.pem (with the chain) and FILENAME.key."""
        key = self.new_key(kind)
        certificate = self.issue(subject, key, issuer, **how)
        cert = self.write(filename + ".pem", b"".join(self.pem(c) for c in [certificate, *chain]))
        return Pair(cert, self.secret(filename + ".key", self.key_pem(key)), certificate, key)

    @staticmethod
    def padded(size):
        """An extension that nobody knows, for the sake of its size (less than 64 KB)."""
        return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), der(4, bytes(size)))

    def server(self, filename, issuer=None, kind="ec", names=SERVER_SAN, cn="localhost", padding=0, **how):
        """A server's certificate."""
        extra = [self.padded(padding)] if padding else []
        return self.pair(filename, name(cn), issuer or self.ca, kind, extensions=[san(*names), *extra],
                         usage=[ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], **how)

    def client(self, filename, issuer=None, subject=None, extensions=(), **how):
        """A client's certificate."""
        return self.pair(filename, subject or name(filename, o="Example"), issuer or self.ca, extensions=extensions,
                         usage=[ExtendedKeyUsageOID.CLIENT_AUTH], **how)

    # -- authorities --------------------------------------------------------------------------------------

    @scenario
    def ca(self):
        """The root that everything trusts."""
        return self.pair("ca", name("Test Root", o="Example"), ca=True)

    @scenario
    def other_ca(self):
        """A root that nothing trusts."""
        return self.pair("other-ca", name("Other Root", o="Elsewhere"), ca=True)

    @scenario
    def intermediate(self):
        """An authority below the root."""
        return self.pair("intermediate", name("Test Intermediate", o="Example"), self.ca, ca=True)

    # -- servers ------------------------------------------------------------------------------------------

    @scenario
    def server_ec(self):
        """ECDSA P-256, with every kind of alternative name."""
        return self.server("server-ec")

    @scenario
    def server_ec2(self):
        """Another one with the same names, for reloads."""
        return self.server("server-ec2")

    @scenario
    def server_rsa(self):
        """RSA 2048."""
        return self.server("server-rsa", kind="rsa")

    @scenario
    def server_ed25519(self):
        """Ed25519."""
        return self.server("server-ed25519", kind="ed25519")

    @scenario
    def server_chained(self):
        """Signed by the intermediate, which stands in the same file."""
        return self.server("server-chained", self.intermediate, chain=[self.intermediate.x509])

    @scenario
    def server_expired(self):
        """Expired yesterday."""
        return self.server("server-expired", start=NOW - 30 * DAY, end=NOW - DAY)

    @scenario
    def server_big_chain(self):
        """A chain of about 90 KB: many records, more than one write takes, yet below the limit of OpenSSL's clients (100 KB)."""
        return self.server("server-big-chain", self.padded_ca, chain=[self.padded_ca.x509], padding=30000)

    @scenario
    def padded_ca(self):
        """An intermediate of about 60 KB, for the sake of its size."""
        return self.pair("padded-ca", name("Padded Intermediate"), self.ca, ca=True, extensions=[self.padded(60000)])

    @scenario
    def combined(self):
        """Certificate and key in one file, as `certificate` alone may name it."""
        pair = self.server_ec
        with open(pair.cert, "rb") as cert, open(pair.key, "rb") as key:
            path = self.secret("combined.pem", cert.read() + key.read())
        return Pair(path, path, pair.x509, pair.private)

    # -- clients ------------------------------------------------------------------------------------------

    @scenario
    def client_good(self):
        """Signed by the root, valid, with a SIP identity."""
        return self.client("client-good", extensions=[san("URI:sip:example.test", "DNS:client.example.test")])

    @scenario
    def client_chained(self):
        """Signed by the intermediate, which stands in the same file."""
        return self.client("client-chained", self.intermediate, chain=[self.intermediate.x509])

    @scenario
    def client_no_chain(self):
        """Signed by the intermediate, which is missing."""
        return self.client("client-no-chain", self.intermediate)

    @scenario
    def client_expired(self):
        """Expired yesterday."""
        return self.client("client-expired", start=NOW - 30 * DAY, end=NOW - DAY)

    @scenario
    def client_not_yet(self):
        """Valid from tomorrow."""
        return self.client("client-not-yet", start=NOW + DAY, end=NOW + 30 * DAY)

    @scenario
    def client_self_signed(self):
        """Its own authority."""
        return self.pair("client-self-signed", name("client-self-signed"))

    @scenario
    def client_wrong_ca(self):
        """Signed by the root that nothing trusts."""
        return self.client("client-wrong-ca", self.other_ca)

    @scenario
    def client_revoked(self):
        """Stands in crl_revoked."""
        return self.client("client-revoked")

    @scenario
    def client_many_names(self):
        """Two names of each kind."""
        return self.client("client-many-names", extensions=[san(
            "DNS:a.example.test", "DNS:b.example.test", "URI:sip:a.example.test", "URI:sip:b.example.test",
            "IP:192.0.2.1", "IP:2001:db8::1", "email:a@example.test", "email:b@example.test")])

    @scenario
    def client_utf8(self):
        """Letters beyond ASCII in every field."""
        return self.client("client-utf8", subject=name("Zoë 測試", o="Bücher & Söhne", ou="Ünit, \"1\"", l="København",
                                                       st="Île-de-France", c="FR", uid="zoë"))

    @scenario
    def client_empty_subject(self):
        """No subject at all."""
        return self.client("client-empty-subject", subject=x509.Name([]),
                           extensions=[san("URI:sip:example.test")])

    @scenario
    def client_nul_in_name(self):
        """A name cut by a zero byte: reads as example.test to C code that stops there."""
        return self.client("client-nul-in-name", subject=name("example.test\0.evil.test"), extensions=[
            raw_san((0x82, b"example.test\0.evil.test"), (0x86, b"sip:example.test\0.evil.test"))])

    @scenario
    def client_bad_ip(self):
        """IP alternative names of 0, 3, 5 and 17 bytes."""
        return self.client("client-bad-ip", extensions=[
            raw_san((0x87, b""), (0x87, b"\x7f\0\0"), (0x87, b"\x7f\0\0\1\2"), (0x87, bytes(17)))])

    @scenario
    def client_deep(self):
        """A chain of 40 authorities, all sent along, which is less than a server takes by default (16 KB)."""
        issuer, chain = self.ca, []
        for depth in range(40):
            key = self.new_key()
            certificate = self.issue(name(f"Depth {depth}"), key, issuer, ca=True)
            issuer = Pair("", "", certificate, key)
            chain.insert(0, certificate)
        return self.client("client-deep", issuer, chain=chain)

    @scenario
    def client_huge(self):
        """A chain of more than 100 KB, which is more than any OpenSSL takes by default."""
        return self.client("client-huge", self.padded_ca, extensions=[self.padded(60000)], chain=[self.padded_ca.x509])

    # -- revocation ---------------------------------------------------------------------------------------

    def crl(self, filename, *revoked, issuer=None, extra=0):
        """A revocation list of the root with these pairs, and `extra` serial numbers that nobody has."""
        issuer = issuer or self.ca
        builder = (x509.CertificateRevocationListBuilder().issuer_name(issuer.x509.subject)
                   .last_update(NOW - DAY).next_update(NOW + 30 * DAY))
        serials = [p.x509.serial_number for p in revoked] + [10 ** 12 + n for n in range(extra)]
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY).build())
        return self.write(filename, builder.sign(issuer.private, hashes.SHA256()).public_bytes(
            serialization.Encoding.PEM))

    @scenario
    def crl_empty(self):
        """The root revoked nothing."""
        return self.crl("crl-empty.pem")

    @scenario
    def crl_revoked(self):
        """The root revoked client_revoked."""
        return self.crl("crl-revoked.pem", self.client_revoked)

    # -- bad files ----------------------------------------------------------------------------------------

    @scenario
    def key_encrypted(self):
        """The key of server_ec, encrypted; the password is `secret`."""
        return self.secret("encrypted.key", self.key_pem(self.server_ec.private, b"secret"))

    @scenario
    def malformed(self):
        """{kind: path} of PEM files that are none."""
        with open(self.server_ec.cert, encoding="ascii") as f:
            good = f.read()
        lines = good.splitlines(keepends=True)
        broken = {
            "empty": "", "text": "this is no certificate\n", "binary": bytes(range(256)) * 8,
            "header-only": lines[0], "no-end": "".join(lines[:-1]), "cut": "".join(lines[:4]) + lines[-1],
            "bad-base64": lines[0] + "@@@@" + "".join(lines[1:]), "bad-der": lines[0] + "AAAA\n" + lines[-1],
            "der": self.server_ec.x509.public_bytes(serialization.Encoding.DER),
        }
        return {kind: self.write(f"malformed-{kind}.pem", data) for kind, data in broken.items()}
