"""TLS that no well-behaved client would send, byte by byte: records, ClientHellos, and records sealed with a real
client's own keys, so that the server takes them for that client's."""

import contextlib
import hashlib
import hmac
import os
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certs import Pair, der, name
from peers import Client, client_context

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA, HEARTBEAT = 20, 21, 22, 23, 24
WARNING, FATAL = 1, 2
CLOSE_NOTIFY, UNEXPECTED, INTERNAL, USER_CANCELED, NO_RENEGOTIATION = 0, 10, 80, 90, 100
(HELLO_REQUEST, CLIENT_HELLO, SERVER_HELLO, NEW_TICKET, END_OF_EARLY_DATA, CERTIFICATE, CERTIFICATE_REQUEST,
 CERTIFICATE_VERIFY, FINISHED, KEY_UPDATE) = 0, 1, 2, 4, 5, 11, 13, 15, 20, 24
SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURES, ALPN, TICKET, PSK, VERSIONS, PSK_MODES, KEY_SHARE = (
    0, 10, 11, 13, 16, 35, 41, 43, 45, 51)
P256, P384, P521, X25519, X448, FFDHE2048, FFDHE3072, FFDHE4096, FFDHE6144, FFDHE8192 = (
    23, 24, 25, 29, 30, 256, 257, 258, 259, 260)
PLAIN_MAX = 16384


def u8(n):
    return n.to_bytes(1, "big")


def u16(n):
    return n.to_bytes(2, "big")


def u24(n):
    return n.to_bytes(3, "big")


def vec8(data):
    """A vector with one byte of length."""
    return u8(len(data)) + data


def vec16(data):
    """A vector with two bytes of length."""
    return u16(len(data)) + data


# -- in the clear ----------------------------------------------------------------------------------------------

def record(kind, data, version=0x0303):
    """One record, whatever its size."""
    return u8(kind) + u16(version) + vec16(data)


def records(kind, data, size=PLAIN_MAX):
    """As many records as it takes, `size` bytes in each."""
    return b"".join(record(kind, data[at:at + size]) for at in range(0, len(data), size))


def message(kind, body=b""):
    """A handshake message."""
    return u8(kind) + u24(len(body)) + body


def alert(level, code):
    """An alert's two bytes."""
    return u8(level) + u8(code)


SIGNATURE_SCHEMES = (0x0403, 0x0804, 0x0401, 0x0807, 0x0503, 0x0603, 0x0805, 0x0806, 0x0501, 0x0601)
CIPHERS_13, CIPHERS_12 = (0x1302, 0x1301), (0xc02b, 0xc02f, 0xc02c, 0xc030)


def extensions(version="1.3", groups=(X25519, P256), share=None, names=("localhost",)):
    """[(type, content)] of an ordinary ClientHello. `share` is (group, bytes), None for a good X25519 one."""
    found = [(GROUPS, vec16(b"".join(map(u16, groups)))), (POINT_FORMATS, vec8(b"\0")),
             (SIGNATURES, vec16(b"".join(map(u16, SIGNATURE_SCHEMES))))]
    if names:
        found.insert(0, (SERVER_NAME, vec16(b"".join(b"\0" + vec16(n.encode()) for n in names))))
    if version == "1.3":
        group, key = share or (X25519, b"\x09" + bytes(31))
        found += [(VERSIONS, vec8(u16(0x0304))), (PSK_MODES, vec8(b"\1")),
                  (KEY_SHARE, vec16(u16(group) + vec16(key)) if key is not None else vec16(b""))]
    return found


def hello_message(parts=None, ciphers=CIPHERS_13 + CIPHERS_12, session=b"", compression=b"\0"):
    """A ClientHello's handshake message from [(extension, content)]."""
    parts = extensions() if parts is None else parts
    body = u16(0x0303) + os.urandom(32) + vec8(session) + vec16(b"".join(map(u16, ciphers))) + vec8(compression)
    return message(CLIENT_HELLO, body + vec16(b"".join(u16(kind) + vec16(data) for kind, data in parts)))


def hello(parts=None, **how):
    """The same in records."""
    return records(HANDSHAKE, hello_message(parts, **how))


# -- what costs a server most before it knows its peer ---------------------------------------------------------------

def without(*kinds):
    """The parts of an ordinary ClientHello but these."""
    return [(kind, data) for kind, data in extensions() if kind not in kinds]


def point(curve):
    """A fresh public key on a curve, as it stands in a key share."""
    return ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def number(size):
    """A number of so many bytes that could be a public key of RFC 7919."""
    return b"\x55" + os.urandom(size - 2) + b"\x55"


def heavy_hellos():
    """{what: bytes} of ClientHellos that ask for more than most: whole ones, at most 64 KB of each kind."""
    x448_key = x448.X448PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shares = {"X25519": (X25519, b"\x09" + bytes(31)), "P-256": (P256, point(ec.SECP256R1())),
              "P-384": (P384, point(ec.SECP384R1())), "P-521": (P521, point(ec.SECP521R1())), "X448": (X448, x448_key)}
    found = {f"TLS 1.3, {group}": hello(extensions(groups=(s[0],), share=s)) for group, s in shares.items()}
    names = b"".join(b"\0" + vec16(b"a%d.example.test" % n) for n in range(3000))
    return found | {
        "TLS 1.3, ffdhe2048 alone": hello(extensions(groups=(FFDHE2048,), share=(FFDHE2048, number(256)))),
        "TLS 1.3, ffdhe8192 alone": hello(extensions(groups=(FFDHE8192,), share=(FFDHE8192, number(1024)))),
        "TLS 1.3, a key share that asks for a retry": hello(extensions(share=(X25519, None))),
        "TLS 1.2, ECDHE": hello(extensions("1.2")),
        "TLS 1.2, DHE": hello(extensions("1.2"), ciphers=(0x009e, 0x009f)),
        "15,000 extensions": hello(extensions() + [(60000 - n, b"") for n in range(15000)]),
        "one extension 15,000 times": hello(extensions() + [(60000, b"")] * 15000),
        "3,000 server names": hello(without(SERVER_NAME) + [(SERVER_NAME, vec16(names))]),
        "a server name of 60,000 bytes": hello(without(SERVER_NAME) + [
            (SERVER_NAME, vec16(b"\0" + vec16(b"a." * 30000)))]),
        "32,000 ciphers": hello(ciphers=tuple(range(1, 32000))),
        "30,000 groups": hello(without(GROUPS) + [(GROUPS, vec16(u16(0x6a00) * 30000 + u16(X25519)))]),
        "1,700 key shares": hello(without(KEY_SHARE) + [
            (KEY_SHARE, vec16((u16(0x6a00) + vec16(bytes(32))) * 1700 + u16(X25519) + vec16(b"\x09" + bytes(31))))]),
        "30,000 signature schemes": hello(without(SIGNATURES) + [(SIGNATURES, vec16(u16(0xfe00) * 30000 + u16(0x0403)))]),
        "30,000 protocols (ALPN)": hello(extensions() + [(ALPN, vec16(b"\1a" * 30000))]),
        "900 tickets (PSK)": hello(extensions() + [
            (PSK, vec16(b"".join(vec16(os.urandom(32)) + bytes(4) for _ in range(900)))
             + vec16(vec8(os.urandom(32)) * 900))]),
        "a session id of 32 bytes, a ticket of 60,000": hello(extensions("1.2") + [(TICKET, os.urandom(60000))],
                                                              session=os.urandom(32)),
    }


def endless_hello(size):
    """The first `size` bytes of a ClientHello that says it is as long as OpenSSL allows (131,396 bytes)."""
    start = u8(CLIENT_HELLO) + u24(131390) + u16(0x0303) + os.urandom(32) + b"\0" + vec16(b"\x13\x01" * 30000)
    return records(HANDSHAKE, (start + bytes(131394))[:size])


_RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")


def _with_signature(certificate, size):
    """The same certificate with a signature of `size` bytes that means nothing."""
    parts = certificate.tbs_certificate_bytes + _RSA_SHA256 + der(3, b"\0\x01" + os.urandom(size - 1))
    return x509.load_der_x509_certificate(der(0x30, parts))


def costly_chain(certs, count=10, bits=16384):
    """A client's certificate below authorities whose keys take longest to use. They are nobody's keys: no signature is
    right, but to find that out a server has to do the arithmetic."""
    signer, chain = rsa.generate_private_key(65537, 2048), []
    for depth in range(count + 1):
        modulus = int.from_bytes(os.urandom(bits // 8), "big") | 1 << bits - 1 | 1
        key = certs.new_key() if depth == count else None
        public = key.public_key() if key else rsa.RSAPublicNumbers(65537, modulus).public_key()
        builder = (x509.CertificateBuilder().subject_name(name(f"Costly {depth}")).serial_number(depth + 1)
                   .issuer_name(name(f"Costly {max(0, depth - 1)}")).public_key(public)
                   .not_valid_before(certs.ca.x509.not_valid_before).not_valid_after(certs.ca.x509.not_valid_after)
                   .add_extension(x509.BasicConstraints(not key, None), True))
        chain.insert(0, _with_signature(builder.sign(signer, hashes.SHA256()), bits // 8))
    cert = certs.write("costly.pem", b"".join(c.public_bytes(Encoding.PEM) for c in chain))
    return Pair(cert, certs.secret("costly.key", certs.key_pem(key)), chain[0], key)


def crowded_chain(certs, size=100000):
    """A client's certificate with as many small authorities behind it as `size` bytes hold; all of them are asked for."""
    issuer, chain, total = certs.other_ca, [], 0
    keys = [certs.new_key() for _ in range(8)]
    while total < size:
        depth = len(chain)
        certificate = certs.issue(name(f"{depth}"), keys[depth % 8], issuer, ca=True)
        issuer = Pair("", "", certificate, keys[depth % 8])
        chain.insert(0, certificate)
        total += len(certificate.public_bytes(Encoding.DER)) + 5
    chain.pop(0)
    return certs.client("crowded", Pair("", "", chain[0], keys[(len(chain) - 1) % 8]), chain=chain[1:])


# -- with a client's keys ----------------------------------------------------------------------------------------

def expand_label(secret, label, length, digest):
    """HKDF-Expand-Label of RFC 8446 with no context; one block is enough."""
    info = u16(length) + vec8(b"tls13 " + label) + vec8(b"") + b"\1"
    return hmac.new(secret, info, digest).digest()[:length]


def prf(secret, label, seed, length):
    """The PRF of RFC 5246 with SHA-256."""
    a, out = label + seed, b""
    while len(out) < length:
        a = hmac.new(secret, a, hashlib.sha256).digest()
        out += hmac.new(secret, a + label + seed, hashlib.sha256).digest()
    return out[:length]


class Seal13:
    """What protects a TLS 1.3 client's records from one traffic secret on."""

    def __init__(self, secret):
        self.digest = hashlib.sha384 if len(secret) == 48 else hashlib.sha256
        self._use(secret)

    def _use(self, secret):
        self.secret, self.number = secret, 0
        self.key = AESGCM(expand_label(secret, b"key", 32 if len(secret) == 48 else 16, self.digest))
        self.iv = int.from_bytes(expand_label(secret, b"iv", 12, self.digest), "big")

    def update(self):
        """The keys behind a KeyUpdate."""
        self._use(expand_label(self.secret, b"traffic upd", len(self.secret), self.digest))

    def __call__(self, kind, data, padding=0):
        inner = data + u8(kind) + bytes(padding)
        head = u8(DATA) + u16(0x0303) + u16(len(inner) + 16)
        nonce = (self.iv ^ self.number).to_bytes(12, "big")
        self.number += 1
        return head + self.key.encrypt(nonce, inner, head)


class Seal12:
    """The same for TLS 1.2 with an AES-128-GCM cipher, after the client's Finished."""

    def __init__(self, master, client_random, server_random):
        block = prf(master, b"key expansion", server_random + client_random, 40)
        self.key, self.salt, self.number = AESGCM(block[:16]), block[32:36], 1

    def __call__(self, kind, data, padding=0):
        mark = self.number.to_bytes(8, "big")
        self.number += 1
        sealed = self.key.encrypt(self.salt + mark, data, mark + u8(kind) + u16(0x0303) + u16(len(data)))
        return record(kind, mark + sealed)


CIPHER_12 = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"


class Forger(Client):
    """A client whose secrets are known: after handshake(), seal(kind, data) makes any record with its keys. With
    handshake(hold_last=True) those of the handshake itself, in TLS 1.3. Whoever seals must not send() as well."""

    def __init__(self, port, version="1.3", pair=None, **how):
        handle, self.secrets_file = tempfile.mkstemp(prefix="tls-secrets-")
        os.close(handle)
        context = client_context(version, pair, ciphers=CIPHER_12 if version == "1.2" else None)
        context.keylog_filename = self.secrets_file
        super().__init__(port, context, **how)
        self.wanted, self.seal, self.secrets = version, None, {}

    def handshake(self, step=None, hold_last=False):
        try:
            super().handshake(step, hold_last)
        finally:
            with open(self.secrets_file, encoding="ascii") as f:
                lines = [line.split() for line in f if not line.startswith("#")]
            self.secrets = {words[0]: (bytes.fromhex(words[1]), bytes.fromhex(words[2])) for words in lines}
        if self.wanted == "1.2":
            client_random, master = self.secrets["CLIENT_RANDOM"]
            self.seal = Seal12(master, client_random, self.server_hello()[0])
        else:
            label = "CLIENT_HANDSHAKE_TRAFFIC_SECRET" if hold_last else "CLIENT_TRAFFIC_SECRET_0"
            self.seal = Seal13(self.secrets[label][1])
        return self

    def forge(self, kind, data, padding=0):
        """Seals and sends one record."""
        self.push(self.seal(kind, data, padding))

    def close(self, notify=True):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.secrets_file)
        super().close(notify=False)


def forger(port, version="1.3", **how):
    """A Forger after its handshake."""
    client = Forger(port, version, **how)
    try:
        return client.handshake()
    except BaseException:
        client.close()
        raise
