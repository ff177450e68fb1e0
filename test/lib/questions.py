"""Every select and every variable about a TLS connection, and a script that answers with all of them.

    host = start_host(script=script(QUESTIONS), ...)
    ask_all(client, QUESTIONS) -> {question: bytes, or None where the script sees no value}

A question is what a script writes: "@tls.peer.subject.cn", "$tls_version", "$(tls_peer_san_uri[1])",
"is_peer_verified()". The answers travel as hexadecimal headers, some at a time: X-Part in the request says which.
"""

import itertools
import urllib.parse

PART = 40

FIELDS = {"cn": ("cn", "commonName", "common_name", "name"), "l": ("l", "localityName", "locality_name", "locality"),
          "c": ("c", "countryName", "country_name", "country"),
          "st": ("st", "stateOrProvinceName", "state_or_province_name", "state"),
          "o": ("o", "organizationName", "organization_name", "organization"),
          "ou": ("ou", "organizationalUnitName", "organizational_unit_name", "unit"),
          "uid": ("uid", "uniqueIdentifier", "unique_identifier")}
KINDS = {"email": ("email", "emailAddress", "email_address"), "host": ("host", "hostname", "dns"),
         "uri": ("uri", "url", "urn"), "ip": ("ip", "IPAddress", "ip_address")}
SINGLE = [("sn", "serialNumber", "serial_number"), ("notBefore", "not_before"), ("notAfter", "not_after"),
          ("rawCert", "raw_cert"), ("URLEncodedCert", "urlencoded_cert"), ("version",), ("verified",), ("revoked",),
          ("expired",), ("self_signed",)]
SIDES = [("peer",), ("my", "me", "myself")]


def _spellings():
    """Lists of selects that are spellings of one and the same."""
    yield ["tls", "tls.desc", "tls.description"]
    yield ["tls.server_name", "tls.serverName"]
    yield from (["tls.version"], ["tls.cipher"], ["tls.cipher.bits"])
    for side in SIDES:
        def path(*words, side=side):
            return [".".join(("tls",) + one) for one in itertools.product(side, *words)]
        for name in (("subject", "subj"), ("issuer",)):
            # a name without a field is its common name
            yield path(name) + path(name, FIELDS["cn"]) + (path() if name[0] == "subject" else [])
            for short, words in FIELDS.items():
                if short != "cn":
                    yield path(name, words)
        for words in [*SINGLE, *KINDS.values()]:
            yield path(words)
    for n in range(3):  # the peer's chain, whichever side is named
        yield [f"tls.{side}.verified_cert_chain[{n}]" for side in sum(SIDES, ())]


SPELLINGS = [["@" + s for s in group] for group in _spellings()]
SELECTS = sum(SPELLINGS, [])

_NAME = ["", "_cn", "_locality", "_country", "_state", "_organization", "_unit"]
_BOTH = [f"{whose}{field}" for whose in ("subject", "issuer") for field in _NAME] + [
    "subject_uid", "version", "serial", "san_email", "san_hostname", "san_uri", "san_ip", "raw_cert", "urlencoded_cert"]
_PEER = ["verified", "revoked", "expired", "selfsigned", "notBefore", "notAfter", "server_name"]
VARIABLES = ([f"$tls_{v}" for v in ("version", "description", "cipher_info", "cipher_bits")]
             + [f"$tls_{side}_{v}" for side in ("peer", "my") for v in _BOTH] + [f"$tls_peer_{v}" for v in _PEER]
             + [f"$tls({side}_{name}_line)" for side in "pm" for name in ("subject", "issuer")])
NUMBERS = [f"$tls_{v}" for v in ("cipher_bits", "peer_serial", "my_serial", "peer_verified", "peer_revoked",
                                 "peer_expired", "peer_selfsigned")]
FUNCTIONS = ["is_peer_verified()"]
QUESTIONS = VARIABLES + SELECTS + FUNCTIONS

# What the newest host's module knows beyond the reference's, and what only ours does.
NEWER = ([f"@tls.{side[0]}.{kind}[{n}]" for side in SIDES for kind in KINDS for n in (0, 1, 2, -1)]
         + [f"@tls.{side[0]}.count.{word}" for side in SIDES for words in KINDS.values() for word in words]
         + [f"$(tls_{side[0]}_san_{kind}[{n}])" for side in SIDES for kind in ("email", "hostname", "uri", "ip")
            for n in (0, 1, 2, -1)] + ["$tls_peer_san_count", "$tls_my_san_count"]
         + [f"$(tls_peer_san_count[{kind}])" for kind in KINDS])


def _conditions(question):
    """(condition under which there is a value, how a string that is expanded writes its hexadecimal form)"""
    if question.endswith("()"):
        return question, "1"
    if question.startswith("@"):
        return f"defined {question}", f"$(sel({question[1:]}){{s.encode.hexa}})"
    inner = question[2:-1] if question.startswith("$(") else question[1:]
    return f"{question} != $null", f"$({inner}{{s.encode.hexa}})"


def answers_block(questions, add="append_to_reply", part="$hdr(X-Part)"):
    """Statements that add the answers to the questions of one part, "X-A: number value", "-" for none."""
    lines = []
    for at in range(0, len(questions), PART):
        lines.append(f'if ({part} == "{at // PART}") {{')
        for number, question in enumerate(questions[at:at + PART], at):
            there, hexadecimal = _conditions(question)
            lines.append(f'if ({there}) {{ {add}("X-A: {number} {hexadecimal}\\r\\n"); }} '
                         f'else {{ {add}("X-A: {number} -\\r\\n"); }}')
        lines.append("}")
    return "\n".join(lines) + "\n"


def script(questions):
    """A request route that answers."""
    return "request_route {\n" + answers_block(questions) + 'sl_send_reply("200", "OK");\nexit;\n}\n'


def parts(questions):
    """The headers that ask for all parts, one after the other."""
    return [f"X-Part: {n}" for n in range(-(-len(questions) // PART))]


def parse(message, questions):
    """The answers in one message."""
    found = {}
    for value in message.all("x-a"):
        number, _, text = value.partition(" ")
        question = questions[int(number)]
        if question.endswith("()"):
            found[question] = b"yes" if text == "1" else b"no"
        else:
            found[question] = None if text == "-" else bytes.fromhex(text)
    return found


def ask_all(client, questions, **how):
    """Asks for every part over one connection; client.ask() sends a request and returns the reply."""
    found = {}
    for header in parts(questions):
        found.update(parse(client.ask(headers=[header], **how), questions))
    assert list(found) == list(questions), "not every question was answered"
    return found


def host_settings(**more):
    """Core settings under which so large a script works."""
    return {"pv_buffer_size": 65536, **more}


def kemi_script(keys):
    """JavaScript for the host (module app_jsdt) that answers with KSR.tls.cget of each key."""
    return ("function ksr_request_route() {\n\tvar keys = " + repr(list(keys)) + ";\n"
            "\tfor (var i = 0; i < keys.length; i++)\n"
            "\t\tKSR.hdr.append_to_reply('X-A: ' + i + ' [' + encodeURIComponent(KSR.tls.cget(keys[i])) + ']\\r\\n');\n"
            "\tKSR.sl.sl_send_reply(200, 'OK');\n\treturn 1;\n}\n")


def parse_kemi(message, keys):
    """The answers of kemi_script(): {key: text}."""
    return dict(zip(keys, (urllib.parse.unquote(v.split(" ", 1)[1][1:-1]) for v in message.all("x-a"))))
