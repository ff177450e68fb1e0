#!/usr/bin/python3
"""Starts the host with examples/ser.cfg and the built module on the loopback address, proves with one SIP request
over TLS that it works, and keeps it in the foreground until Ctrl-C. `make run` prepares what it needs."""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import sip_options

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ADDRESS = "127.0.0.1"
DOMAIN = "example.com"
START_SECONDS = 60
STOP_SECONDS = 30
ASK_SECONDS = 20
AGAIN_SECONDS = 3
STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
STOP_NOISE = re.compile(rb"CRITICAL: <core> .*(receive_fd\(\): (EOF on|recvmsg failed)|send_fd: sendmsg failed)")
SOCKET_PATH_MAX = 90  # the kernel takes 107 bytes for the path of a unix socket


class Failure(Exception):
    """What went wrong, in one line for the user."""


def block_signals():
    """From here on signals wait until they are asked for, so that none can come between a start and its end."""
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_DFL)  # in the background of a script SIGINT would be ignored
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS | {signal.SIGCHLD})


def asked_to_stop():
    return bool(signal.sigpending() & STOP_SIGNALS)


class HostLog(threading.Thread):
    """Passes the host's log on. While it stops, its processes complain of each other's end: that is left out."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream = stream
        self.stopping = False

    def run(self):
        for line in self.stream:
            if not (self.stopping and STOP_NOISE.search(line)):
                sys.stderr.buffer.write(line)
                sys.stderr.flush()


class Terminal:
    """While in use, Ctrl-C reaches this process alone, so that make, which waits for it, ends well too."""

    def __init__(self):
        self.tty = self.before = None
        try:
            self.tty = os.open("/dev/tty", os.O_RDWR)
            if os.tcgetpgrp(self.tty) == os.getpgrp() != os.getpid():
                self.before = os.getpgrp()
        except OSError:
            return

    def __enter__(self):
        if self.before is not None:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # make could not be resumed
            os.setpgid(0, 0)
            os.tcsetpgrp(self.tty, os.getpgrp())

    def __exit__(self, *_):
        if self.before is not None:
            os.tcsetpgrp(self.tty, self.before)
        if self.tty is not None:
            os.close(self.tty)


def check_port_free(kind, port, variable):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
        try:
            probe.bind((ADDRESS, port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except (OSError, OverflowError) as error:
            name = "TCP" if kind == socket.SOCK_STREAM else "UDP"
            reason = getattr(error, "strerror", None) or error
            raise Failure(f"{name} port {port} of {ADDRESS}: {reason}: choose another with {variable}=") from None


def host_program():
    return subprocess.run([f"{TOP}/tools/host.sh", "find"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def host_command(args, run_dir):
    defines = {
        "SIP_DOMAIN": f'"{DOMAIN}"',
        "SIP_PORT": args.sip_port,
        "TLS_PORT": args.tls_port,
        "TLS_MODULE": f'"{args.module}"',
        "TLS_CERTIFICATE": f'"{args.dir}/server.pem"',
        "TLS_PRIVATE_KEY": f'"{args.dir}/server.key"',
        "TLS_CA_LIST": f'"{args.dir}/ca.pem"',
    }
    command = [host_program(), "-DD", "-E", "-f", args.config, "-Y", run_dir, "-w", run_dir]
    for name, value in defines.items():
        command += ["-A", f"{name}={value}"]
    return command


def prove(host, args):
    """One OPTIONS, verified against the demonstration's authority. The port is tried until the host listens.
    Returns whether it came to that: False when a signal came first."""
    try:
        context = sip_options.client_context(f"{args.dir}/ca.pem")
    except OSError as error:
        raise Failure(f"{args.dir}/ca.pem: {error}: tools/demo-certs.sh makes it") from None
    deadline = time.monotonic() + START_SECONDS
    while True:
        if asked_to_stop():
            return False
        if host.poll() is not None:
            raise Failure("the server ended while starting: see its messages above")
        try:
            reply, protocol, cipher, bits = sip_options.exchange_options(ADDRESS, args.tls_port, context, DOMAIN,
                                                                           timeout=ASK_SECONDS)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise Failure(f"the server does not listen on port {args.tls_port} after {START_SECONDS} s") from None
            time.sleep(0.05)
        except OSError as error:
            raise Failure(f"the request over TLS failed: {error}") from None
    print(reply.decode(errors="replace").rstrip())
    print(f"-- {protocol}, {cipher}, {bits} bits, the server's certificate is good", flush=True)
    if sip_options.status_of(reply) != 200:
        raise Failure("the server answered, but not with 200")
    return True


def wait_for_stop(host):
    while host.poll() is None:
        if signal.sigwait(STOP_SIGNALS | {signal.SIGCHLD}) in STOP_SIGNALS:
            return
    raise Failure(f"the server ended by itself (status {host.returncode}): see its messages above")


def tell_how_to_try(args, run_dir):
    keys = os.path.relpath(args.dir)
    print(f"""
The server runs on {ADDRESS}: TLS on port {args.tls_port}, UDP and TCP on port {args.sip_port}. To try it by hand:

  openssl s_client -brief -connect {ADDRESS}:{args.tls_port} -servername {DOMAIN} -CAfile {keys}/ca.pem
  the same with a client certificate:  -cert {keys}/client.pem -key {keys}/client.key
  tools/sip_options.py --port {args.tls_port} --name {DOMAIN} --ca {keys}/ca.pem --cert {keys}/client.pem --key {keys}/client.key
  kamcmd -s unix:{run_dir}/kamailio_ctl tls.list

Ctrl-C stops it.""", flush=True)


def end_host(host, log):
    """Ends the host and everything that it started. Returns whether it went by itself and in time. It is told again now
    and then: a process of it that had not run yet at the first time forgets that (doc/troubleshooting.md)."""
    log.stopping = True
    deadline = time.monotonic() + STOP_SECONDS
    if host.poll() is None:
        host.terminate()
    while host.poll() is None and time.monotonic() < deadline:
        try:
            host.wait(AGAIN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(host.pid, signal.SIGTERM)
    in_time = host.poll() is not None
    try:
        os.killpg(host.pid, signal.SIGKILL)  # its own group: whatever is left of it
    except ProcessLookupError:
        pass
    host.wait()
    log.join(STOP_SECONDS)
    return in_time


def serve(args, run_dir):
    host = subprocess.Popen(host_command(args, run_dir), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, start_new_session=True,
                            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, []))
    log = HostLog(host.stderr)
    log.start()
    try:
        if prove(host, args) and not args.once:
            tell_how_to_try(args, run_dir)
            wait_for_stop(host)
    finally:
        if not end_host(host, log):
            raise Failure(f"the server did not stop within {STOP_SECONDS} s and was killed")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", required=True, help="folder with the demonstration's certificates")
    parser.add_argument("--tls-port", type=int, default=5061)
    parser.add_argument("--sip-port", type=int, default=5060)
    parser.add_argument("--config", default=f"{TOP}/examples/ser.cfg", help="the host's configuration")
    parser.add_argument("--module", default=f"{TOP}/tls.so", help="what the configuration loads")
    parser.add_argument("--once", action="store_true", help="stop after the proof")
    args = parser.parse_args()
    args.dir = os.path.abspath(args.dir)
    run_dir = os.path.join(args.dir, f"run-{args.tls_port}")
    if len(run_dir) > SOCKET_PATH_MAX:
        run_dir = tempfile.mkdtemp(prefix="tls-demo-")
    os.makedirs(run_dir, exist_ok=True)
    block_signals()
    try:
        with Terminal():
            check_port_free(socket.SOCK_STREAM, args.tls_port, "TLS_PORT")
            check_port_free(socket.SOCK_STREAM, args.sip_port, "SIP_PORT")
            check_port_free(socket.SOCK_DGRAM, args.sip_port, "SIP_PORT")
            serve(args, run_dir)
    except Failure as failure:
        print(f"tls: {failure}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
