"""The benchmark's own parts: they work, and what they say can be true. How fast anything is, is not asked here."""

import json
import os
import subprocess
import sys

import pytest

from host import TOP, wait_for

FLOOR = os.path.join(TOP, "build", "floor")


def floor(certs, *words, kind="server_ec"):
    pair = getattr(certs, kind)
    done = subprocess.run([FLOOR, "--cert", pair.cert, "--key", pair.key, *words], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("how", [[], ["--resume"]])
def test_floor_counts_time_and_memory(certs, version, how):
    timed = floor(certs, "--tls", version, "--connections", "40", *how)
    assert timed["resumed"] == (40 if how else 0)
    assert 0 < timed["request_us"] < timed["handshake_us"] < timed["connection_us"]
    counted = floor(certs, "--tls", version, "--count", *how)
    assert counted["left"] == 0, "what the server's side allocated for a connection is not all given back"
    assert 100 < counted["allocations"] < 5000
    assert 4000 < counted["live_asked"] < counted["allocated_bytes"]
    assert counted["resumed"] == (counted["connections"] if how else 0)


def test_floor_kept_buffers_are_seen(certs):
    """Both buffers of a connection hold 16 KB and more."""
    assert floor(certs, "--count", "--keep-buffers")["live_asked"] > floor(certs, "--count")["live_asked"] + 30000


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A tiny run of the parts that make the main rows, and its tables."""
    folder = tmp_path_factory.mktemp("bench")
    run = [sys.executable, "-B", os.path.join(TOP, "bench", "bench.py"), "--tiny", "--rounds", "1", "--out", folder]
    subprocess.run([*run, "floor", "cost"], check=True, stdout=subprocess.DEVNULL, timeout=300)
    subprocess.run([*run, "requests", "idle"], check=True, stdout=subprocess.DEVNULL, timeout=300)  # beside what is there
    with open(folder / "numbers.json", encoding="utf-8") as f:
        found = json.load(f)
    report = [sys.executable, "-B", os.path.join(TOP, "bench", "report.py"), "--numbers", folder / "numbers.json"]
    return found, subprocess.run(report, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


@pytest.mark.timeout(700)
def test_a_tiny_run_has_the_main_numbers(numbers):
    found, _ = numbers
    for module in ("ours", "packaged", "bare"):
        name = module if module == "bare" else module + " qm"
        for kind in ("plain", "ec 1.3 full", "ec 1.3 resumed"):
            (cpu,) = found["cost"][f"{name} {kind}"]["cpu_us"]
            assert 5 < cpu < 100000, f"{name} {kind}: {cpu} µs"
    assert found["cost"]["bare ec 1.3 full"]["cpu_us"] > found["cost"]["bare plain"]["cpu_us"]
    assert found["requests"]["ours qm plain"]["request_us"][0] > 1
    held = {state: found["idle"][f"ours qm {state}"]["bytes"][0] for state in ("plain", "fresh", "asked", "resumed")}
    assert 1000 < held["plain"] < held["fresh"] < 200000


@pytest.mark.timeout(700)
def test_tables_of_a_tiny_run(numbers):
    _, said = numbers
    assert "| ECDSA, TLS 1.3, full |" in said
    assert "## goals" in said and "## idle" in said and "## requests" in said
    assert "nan" not in said and "None" not in said


def test_standing_connections_take_turns(start_host, certs, load):
    """--request-rate: all stay, all ask, and a line in between tells of the time since the last."""
    host = start_host(modparams=certs.server_ec.params())
    process = load.start(host.port(), connections=20, parallel=20, request_rate=400, time_limit=60)
    try:
        load.wait_standing(process, 20)
        first = load.interim(process)
        wait_for(lambda: load.interim(process)["reply_us"]["count"] > 0, 30, "requests since the line before")
        second = load.interim(process)
        assert second["requests_ok"] > first["requests_ok"] and second["open"] == 20 and second["failed"] == 0
        assert host.open_tls() == 20
    finally:
        process.terminate()
        last = load.finish(process)
    assert last["failed"] == 0 and last["ok"] == 20, last
