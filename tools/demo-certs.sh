#!/usr/bin/env bash
# demo-certs.sh FOLDER [DOMAIN]     makes the demonstration's certificates in FOLDER, unless they are there and good
#
#   ca.pem, ca.key           a certificate authority of its own
#   server.pem, server.key   for localhost, DOMAIN and the loopback addresses
#   client.pem, client.key   for the user alice@DOMAIN
#
# Environment: KEY_TYPE=ec (P-256, the default) or rsa (2048 bits).
set -euo pipefail

folder=$1
domain=${2:-example.com}
case ${KEY_TYPE:-ec} in
ec) key_options="-newkey ec -pkeyopt ec_paramgen_curve:P-256" ;;
rsa) key_options="-newkey rsa:2048" ;;
*)
	echo "tls: KEY_TYPE=$KEY_TYPE: it is ec or rsa" >&2
	exit 1
	;;
esac

# Good for a day at least, and signed by the authority beside it.
is_good() {
	[ -f "$folder/$1.key" ] && openssl x509 -in "$folder/$1.pem" -noout -checkend 86400 >/dev/null 2>&1 &&
		openssl verify -CAfile "$folder/ca.pem" "$folder/$1.pem" >/dev/null 2>&1
}

# say what OpenSSL said only when it fails
quietly() {
	local out
	out=$("$@" 2>&1) || {
		printf '%s\n' "$out" >&2
		echo "tls: could not make the demonstration's certificates in $folder" >&2
		exit 1
	}
}

make_authority() {
	quietly openssl req -x509 $key_options -noenc -keyout ca.key -out ca.pem -days 30 \
		-subj "/O=SIP over TLS demonstration/CN=Demonstration CA" \
		-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
}

# make_certificate NAME SUBJECT ALTERNATIVE_NAMES PURPOSE
make_certificate() {
	quietly openssl req -new $key_options -noenc -keyout "$1.key" -out "$1.csr" -subj "$2" \
		-addext "subjectAltName=$3" -addext "keyUsage=critical,digitalSignature" \
		-addext "extendedKeyUsage=$4" -addext "basicConstraints=CA:FALSE"
	quietly openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -days 30 -copy_extensions copy -out "$1.pem"
	rm "$1.csr"
}

is_good ca && is_good server && is_good client && exit 0
umask 077
mkdir -p "$folder"
cd "$folder"
make_authority
make_certificate server "/CN=$domain" \
	"DNS:localhost,DNS:$domain,DNS:sip.$domain,URI:sip:$domain,IP:127.0.0.1,IP:::1" serverAuth,clientAuth
make_certificate client "/CN=alice" "URI:sip:alice@$domain,email:alice@$domain" clientAuth
chmod 644 ca.pem server.pem client.pem
