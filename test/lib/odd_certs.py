"""Client certificates whose names are odd, beyond those of certs.py: for what scripts read from them.

    CLIENTS["all-fields"](certs) -> Pair
"""

from cryptography import x509
from cryptography.x509.name import _ASN1Type as StringType
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs import der, name, raw_san, san

_USAGE = [ExtendedKeyUsageOID.CLIENT_AUTH]


def _attribute(oid, value, kind=StringType.UTF8String):
    """One part of a name, of any string type and without the library's checks."""
    return x509.NameAttribute(oid, value, kind, _validate=False)


def _client(certs, label, subject=None, extensions=(), kind="ec"):
    """A certificate of the root that the host trusts."""
    return certs.pair(label, name(label) if subject is None else subject, certs.ca, kind, extensions=extensions,
                      usage=_USAGE)


def all_fields(certs):
    """Every field that has a name of its own, most of them twice, and one that has none."""
    pairs = [(NameOID.COUNTRY_NAME, "DE"), (NameOID.STATE_OR_PROVINCE_NAME, "State"), (NameOID.LOCALITY_NAME, "Town"),
             (NameOID.ORGANIZATION_NAME, "First"), (NameOID.ORGANIZATION_NAME, "Second"),
             (NameOID.ORGANIZATIONAL_UNIT_NAME, "Unit 1"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "Unit 2"),
             (NameOID.COMMON_NAME, "one"), (NameOID.COMMON_NAME, "two"), (NameOID.USER_ID, "user"),
             (NameOID.SERIAL_NUMBER, "4711"), (NameOID.X500_UNIQUE_IDENTIFIER, "other")]
    return _client(certs, "all-fields", x509.Name([_attribute(*p) for p in pairs]))


def string_types(certs):
    """Strings that are neither UTF-8 nor ASCII as they are encoded."""
    return _client(certs, "string-types", x509.Name([
        _attribute(NameOID.ORGANIZATION_NAME, "Bücher", StringType.BMPString),
        _attribute(NameOID.LOCALITY_NAME, "København", StringType.UniversalString),
        _attribute(NameOID.COMMON_NAME, "Zoe", StringType.T61String)]))


def empty_fields(certs):
    """Fields that are there, but empty."""
    return _client(certs, "empty-fields", x509.Name([_attribute(o, "") for o in (
        NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME)]),
                   [raw_san((0x82, b""), (0x86, b""), (0x81, b""))])


def no_subject(certs):
    """No subject at all."""
    return _client(certs, "no-subject", x509.Name([]), [san("URI:sip:example.test")])


def big_serial(certs):
    """A serial number of 19 bytes."""
    before, certs._serial = certs._serial, 2 ** 150 + 12344  # pylint: disable=protected-access
    try:
        return _client(certs, "big-serial")
    finally:
        certs._serial = before + 1  # pylint: disable=protected-access


def ipv6_first(certs):
    """Addresses, the long ones first."""
    return _client(certs, "ipv6-first", extensions=[san("IP:2001:db8::1", "IP:::ffff:192.0.2.7", "IP:192.0.2.8")])


def other_names(certs):
    """Names of kinds that nobody asks for among the others."""
    other = x509.SubjectAlternativeName([
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")), x509.DirectoryName(name("directory")),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.55555.2"), b"\x0c\x02hi"),
        x509.DNSName("after.example.test")])
    return _client(certs, "other-names", extensions=[other])


def bytes_in_names(certs):
    """Names with bytes that no such name may have: spaces, a comma, a byte beyond ASCII, a line's end."""
    return _client(certs, "bytes-in-names", name("a/O=b"), [
        raw_san((0x82, b"a,b\xffc"), (0x86, b"sip:a b"), (0x81, b"a\r\nb@c"))])


def usable_among_unusable(certs):
    """Names with zero bytes and addresses of wrong sizes before, between and behind good ones."""
    return _client(certs, "usable-among-unusable", extensions=[raw_san(
        (0x82, b"good.example\0.evil.example"), (0x82, b"a.example"), (0x82, b"\0"), (0x82, b"b.example"),
        (0x87, b"\1\2\3"), (0x87, b"\1\2\3\4"), (0x87, bytes(17)), (0x86, b"sip:x\0"), (0x82, b"c.example\0"))])


def rsa(certs):
    """An RSA key."""
    return _client(certs, "rsa", kind="rsa")


def wrong_root_sent(certs):
    """Signed by a root that nothing trusts, which the client sends along."""
    return certs.client("wrong-root-sent", certs.other_ca, chain=[certs.other_ca.x509])


def big(certs):
    """A certificate of 15 KB: a little less than a peer may show by default."""
    return _client(certs, "big", extensions=[certs.padded(15000)])


def big_server(certs):
    """A server's certificate of 95 KB, about as much as a client takes."""
    more = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.3"), der(4, bytes(35000)))
    return certs.pair("big-server", name("localhost"), certs.ca, extensions=[certs.padded(60000), more])


CLIENTS = {f.__name__.replace("_", "-"): f for f in (
    all_fields, string_types, empty_fields, no_subject, big_serial, ipv6_first, other_names, bytes_in_names,
    usable_among_unusable, rsa, wrong_root_sent, big)}
