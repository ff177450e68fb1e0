#!/usr/bin/python3
"""Makes tables and pictures of the benchmark's numbers.

    bench/report.py [--numbers build/bench/numbers.json] [--doc FOLDER] [--pictures FOLDER]

Prints the tables. With --doc it puts them into FOLDER/performance.md, each between `<!-- table NAME -->` and `<!-- end -->`,
draws FOLDER/performance-*.svg, and keeps the numbers beside them. A figure is the median of the rounds; behind it stand the
quarters of the rounds, lower and upper. Ratios are made within a round, and the median taken then.
"""

import argparse
import json
import math
import os
import re
import shutil
import statistics
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KINDS = [f"{key} {version} {how}" for key in ("ec", "rsa") for version in ("1.3", "1.2") for how in ("full", "resumed")]
WORDS = {"ec": "ECDSA", "rsa": "RSA-2048", "1.3": "TLS 1.3", "1.2": "TLS 1.2", "full": "full", "resumed": "resumed"}
FULL = "ec 1.3 full"
SUBJECTS = [f"{module} {allocator}" for module in ("ours", "packaged") for allocator in ("qm", "fm", "tlsf")] + ["haproxy", "bare"]
NONE = "–"


def spoken(kind):
    """"ec 1.3 full" in words."""
    return ", ".join(WORDS.get(word, word) for word in kind.split())


def ratios(over, under, less=None):
    """(over − less) / under, round by round; nothing where one of them is missing."""
    less = less if less is not None else [0] * len(over or [])
    return [(a - c) / b for a, b, c in zip(over or [], under or [], less) if b]


def quarter(values, share):
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    return ordered[math.floor(place) if share < 0.5 else math.ceil(place)]


def figure(values, digits=2):
    """Median and quarters, as a cell of a table."""
    if not values:
        return NONE
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) < 3:
        return middle
    return f"{middle} ({quarter(values, 0.25):.{digits}f}–{quarter(values, 0.75):.{digits}f})"


def median(values):
    return statistics.median(values) if values else None


def table(head, rows):
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


class Report:
    """The numbers, and what is said of them."""

    def __init__(self, numbers):
        self.n = numbers

    def get(self, part, subject, name="cpu_us"):
        """The rounds of one value, [] if it was not measured."""
        return self.n.get(part, {}).get(subject, {}).get(name, [])

    def parts(self, part):
        return self.n.get(part, {})

    def above(self, subject, kind):
        """CPU above plain TCP, in floors."""
        return ratios(self.get("cost", f"{subject} {kind}"), self.get("cost", f"floor {kind}"), self.get("cost", f"{subject} plain"))

    def many_above(self, name, clients, kind=FULL):
        server = "ours" if name == "haproxy" else name
        return ratios(self.get("many", f"{name} {kind} {clients}"), self.get("many", f"floor {kind}"),
                      self.get("many", f"{server} plain {clients}"))

    def idle_above(self, subject, state):
        """Bytes of an idle connection above plain TCP."""
        held, plain = self.get("idle", f"{subject} {state}", "bytes"), self.get("idle", f"{subject} plain", "bytes")
        return median(held) - median(plain) if held and plain else None

    # -- tables -------------------------------------------------------------------------------------------

    def table_floor(self):
        base = median(self.get("floor", FULL, "connection_us"))
        rows = []
        for kind in KINDS:
            time = self.get("floor", kind, "connection_us")
            if time:
                rows.append((spoken(kind), figure(ratios(time, [base] * len(time))), f"{median(time):.0f}",
                             f"{self.get('floor', kind, 'allocations')[0]:.0f}", f"{self.get('floor', kind, 'live_no_request')[0]:.0f}",
                             f"{self.get('floor', kind, 'live_asked')[0]:.0f}"))
        return table(("OpenSSL alone", "CPU, ECDSA TLS 1.3 = 1", "µs here", "allocations", "live bytes, fresh", "after a request"), rows)

    def table_split(self):
        """Each step from OpenSSL alone to the module in its host."""
        floor = self.get("split", "floor")
        steps = (("OpenSSL alone (the floor)", "floor", ""), ("with this module around it: no host, no socket", "turns", ""),
                 ("OpenSSL alone, asleep for 300 µs before each of its turns", "floor 300", ""),
                 ("with this module around it, asleep as long", "turns 300", ""),
                 ("`bare`: OpenSSL and sockets", f"bare {FULL}", "bare plain"),
                 ("this module in its host, one worker", f"ours 1 {FULL}", "ours 1 plain"),
                 ("this module in its host, 8 workers", f"ours 8 {FULL}", "ours 8 plain"))
        count = median(self.get("split", "floor", "instructions"))
        rows = [(what, figure(ratios(self.get("split", over), floor, self.get("split", less) or None)), self.instructions(over, count))
                for what, over, less in steps if self.get("split", over)]
        return table(("one client, ECDSA, TLS 1.3", "CPU (above plain TCP's) / floor", "instructions / floor's"), rows)

    def instructions(self, subject, of_floor):
        own = median(self.get("split", subject, "instructions"))
        return f"{own / of_floor:.2f}" if own and of_floor else NONE

    def table_cost(self):
        measured = [s for s in SUBJECTS if self.get("cost", f"{s} plain")]
        rows = [(spoken(kind), *(figure(self.above(s, kind)) for s in measured)) for kind in KINDS if self.get("cost", f"floor {kind}")]
        plain = [median(self.get("cost", f"{s} plain")) for s in measured]
        floor = median(self.get("cost", f"floor {FULL}")) or 1
        rows.append(("plain TCP itself, in floors of ECDSA TLS 1.3", *(f"{p / floor:.2f}" for p in plain)))
        bare = [self.bare_row(kind, measured) for kind in KINDS if self.above("bare", kind)]
        return (table(("one client; (CPU − plain TCP's) / floor", *measured), rows) + "\n\n" +
                table(("one client; (CPU − plain TCP's) / that of `bare`", *measured), bare))

    def bare_row(self, kind, measured):
        """What TLS adds, in what it adds to a server that is sockets and OpenSSL alone."""
        return (spoken(kind), *(figure(ratios(self.above(s, kind), self.above("bare", kind))) for s in measured))

    def table_many(self):
        rows = []
        for name in ("ours", "ours fm", "haproxy"):
            for clients in (1, 50, 200):
                subject = f"{name} {FULL} {clients}"
                cpu, one = self.get("many", subject), self.get("many", f"{name} {FULL} 1")
                if cpu:
                    rows.append((name, clients, figure(self.many_above(name, clients)), figure(ratios(cpu, one)),
                                 f"{median(self.get('many', subject, 'per_second')):.0f}", figure(self.get("many", subject, "idle")),
                                 figure(self.get("many", subject, "busy")) + self.bottleneck(subject)))
        return table(("server", "clients", "(CPU − plain) / floor", "CPU / CPU with one client", "connections a second here",
                      "machine idle", "load generator's core busy"), rows) + "\n\n" + table(
                          ("200 clients at once; (CPU − plain TCP's) / floor", "ours", "ours fm", "haproxy"),
                          [(spoken(kind), *(figure(self.many_above(name, 200, kind)) for name in ("ours", "ours fm", "haproxy")))
                           for kind in KINDS if self.many_above("ours", 200, kind)])

    def bottleneck(self, subject):
        """Says so where the load generator had no more to give."""
        return ": it was the bottleneck" if median(self.get("many", subject, "busy")) > 0.95 else ""

    def table_requests(self):
        measured = [s for s in SUBJECTS if self.get("requests", f"{s} plain", "request_us")]
        return table(("CPU of a request over TLS / over TCP", *measured),
                     [("400 bytes, connection stands", *(figure(self.request_ratio(s)) for s in measured))])

    def request_ratio(self, subject):
        return ratios(self.get("requests", f"{subject} {FULL}", "request_us"), self.get("requests", f"{subject} plain", "request_us"))

    def table_latency(self):
        rows = []
        for what in ("handshake_us", "reply_us"):
            for name in (f"ours {FULL}", f"haproxy {FULL}"):
                rows.append((("handshake" if what[0] == "h" else "first reply"), name.split()[0],
                             *(figure(ratios([r[p] for r in self.get("latency", name, what)],
                                             [r[p] for r in self.get("latency", "ours plain", "reply_us")]))
                               for p in ("p50", "p90", "p99"))))
        return table(("latency / that of a reply over plain TCP", "server", "p50", "p90", "p99"), rows)

    def table_idle(self):
        rows = []
        for state, kind, name in (("fresh", FULL, "live_no_request"), ("asked", FULL, "live_asked"),
                                  ("resumed", "ec 1.3 resumed", "live_asked"), ("asked 1.2", "ec 1.2 full", "live_asked")):
            live = (self.get("floor", kind, name) or [0])[0]
            row = [state, f"{live / 1024:.1f}"]
            for subject in SUBJECTS[:6]:
                above = self.idle_above(subject, state)
                if self.parts("idle").get(f"{subject} plain"):
                    row.append(f"{above / 1024:.1f} KB, {above / live:.2f}" if above and live else NONE)
            rows.append(row)
        return table(("idle connection, TLS 1.3 where not said", "OpenSSL's live KB",
                      *(s for s in SUBJECTS[:6] if self.parts("idle").get(f"{s} plain"))), rows)

    def table_growth(self):
        rows = []
        live = (self.get("floor", FULL, "live_asked") or [1])[0]
        floor = [median(self.get("growth", f"floor {FULL}"))] * 99
        for subject in self.parts("growth"):
            if not subject.startswith(("plain", "floor")):
                count = subject.rsplit(" ", 1)[1]
                above = median(self.get("growth", subject, "bytes")) - median(self.get("growth", f"plain {count}", "bytes"))
                rows.append((count, f"{above / 1024:.1f}", f"{above / live:.2f}", figure(ratios(
                    self.get("growth", subject), floor, self.get("growth", f"plain {count}"))),
                    f"{self.get('growth', subject, 'left')[0] / 1024:.0f}"))
        return table(("standing", "KB each above plain TCP", "/ OpenSSL's live bytes", "a new one's (CPU − plain) / floor",
                      "KB kept when all have gone"), rows)

    def table_crowd(self):
        rows = []
        for kind in ("plain", FULL):
            quiet, busy, new = (self.get("crowd", f"{kind} {state}", "reply_us") for state in ("quiet", "busy", "new"))
            if quiet:
                failed = sum(self.get("crowd", f"{kind} new", "failed")) + sum(self.get("crowd", f"{kind} standing", "failed"))
                rows.append((spoken(kind), self.get("crowd", f"{kind} standing", "connections")[0],
                             *(figure(ratios([b[p] for b in busy], [q[p] for q in quiet])) for p in ("p50", "p90", "p99")),
                             sum(self.get("crowd", f"{kind} new", "ok")), failed))
        return table(("standing ones' latency with 200 new a second / in quiet", "standing", "p50", "p90", "p99", "new ones", "failed"), rows)

    def table_workers(self):
        rows = []
        floor = self.get("workers", f"floor {FULL}")
        for number in sorted({int(k.split()[0]) for k in self.parts("workers") if k[0].isdigit()}):
            rows.append((number, f"{self.get('workers', str(number), 'memory')[0] / 1024:.0f}",
                         *(figure(ratios(self.get("workers", f"{number} {FULL} {c}"), floor, self.get("workers", f"{number} plain {c}")))
                           for c in (1, 50))))
        return table(("workers", "shared KB at the start", "(CPU − plain) / floor, 1 client", "50 clients"), rows)

    def table_domains(self):
        rows = []
        for subject, values in self.parts("domains").items():
            module, number = subject.split()
            if "start" not in values:
                rows.append((module, number, values.get("note", ""), "", "", "", ""))
                continue
            extra = [median(values[k]) - median(self.get("domains", f"{module} none", k)) for k in ("start", "memory", "after_reload")]
            rows.append((module, number, f"{extra[0]:.2f} s", f"{extra[1] / 1048576:.1f} MB", f"{median(values['reload']):.2f} s",
                         f"{median(values['renewal']):.2f} s", f"{extra[2] / 1048576:.1f} MB"))
        return table(("module", "domains with the authorities' bundle", "start, above none", "shared memory, above none", "reload", "with all files renewed", "memory after them"), rows)

    def table_settings(self):
        base = min(self.get("settings", "as it is"))  # warm caches, no sockets: only noise makes it more than the least
        return table(("OpenSSL alone, ECDSA TLS 1.3 where not said", "CPU / as it is, the least of the rounds", "allocations", "live bytes", "resumed"),
                     [(name, f"{min(self.get('settings', name)) / base:.2f}", f"{v['allocations'][0]:.0f}", f"{v['live'][0]:.0f}",
                       "yes" if median(v.get("resumed", [0])) > 0.9 else "no") for name, v in self.parts("settings").items()])

    def table_death(self):
        v = self.parts("death").get("packaged 50", {})
        return table(("packaged module, 50 clients at once", "after", "what happened", "its log"),
                     [(f"try {i + 1}", f"{s:.1f} s", said[:120].replace("|", "/"), "; ".join(log).replace("|", "/") or NONE)
                      for i, (s, said, log) in enumerate(zip(v.get("seconds", []), v.get("said", []), v.get("log", [])))])

    def table_profile(self):
        """What TLS adds to plain TCP, by place, in floors."""
        floor = median(self.get("profile", "floor", "us"))
        subjects = [s.removesuffix(" plain") for s in self.parts("profile") if s.endswith(" plain")]
        if not subjects:
            return "perf could not record here."
        added = {s: self.profile_added(s, floor) for s in subjects}
        places = sorted({p for a in added.values() for p in a}, key=lambda p: -added[subjects[0]].get(p, 0))
        rows = [(f"{library}, in {process}", *(f"{added[s].get(f'{process}|{library}', 0):.2f}" for s in subjects))
                for process, library in (p.split("|") for p in places) if any(added[s].get(f"{process}|{library}", 0) >= 0.02 for s in subjects)]
        rows.append(("all", *(f"{sum(added[s].values()):.2f}" for s in subjects)))
        return table(("TLS above plain TCP, in floors", *subjects), rows)

    def profile_added(self, subject, floor):
        over, under = (self.get("profile", f"{subject} {kind}", "places") for kind in (FULL, "plain"))
        names = {place for found in over + under for place in found}
        return {name: (median([f.get(name, 0) for f in over]) - median([f.get(name, 0) for f in under])) / floor for name in names}

    def table_goals(self):
        rows = [("(CPU − plain) / floor: ECDSA, TLS 1.3, default allocator", "≤ 1.10", *self.goal_cost("qm", [FULL])),
                ("the same with `-x fm`", "≤ 1.05", *self.goal_cost("fm", [FULL])),
                ("the same with 200 clients at once, default allocator", "", figure(self.many_above("ours", 200)), "dies"),
                ("the same, RSA-2048; TLS 1.2; resumed (the worst of them), 200 clients at once", "", figure(max(
                    (self.many_above("ours", 200, kind) for kind in KINDS[1:]), key=lambda v: median(v) or 0)), "dies"),
                ("the same, one client, above `bare` instead of the floor", "", *self.goal_bare("fm")),
                ("the same, RSA-2048; TLS 1.2; resumed (the worst of them)", "≤ 1.10 each", *self.goal_cost("qm", KINDS[1:])),
                ("50 and 200 clients at once, 8 workers: CPU / that of one", "≤ 1.05", *self.goal_many()),
                ("shared memory of an idle connection above plain TCP / live bytes", "≤ 1.10", *self.goal_idle()),
                ("CPU of a 400-byte request / plain TCP", "≤ 1.10", figure(self.request_ratio("ours qm")), figure(self.request_ratio("packaged qm"))),
                ("10,000 standing, 200 new a second: p99 / quiet; failures", "≤ 2; none", *self.goal_crowd()),
                ("1,000 domains with the authorities' bundle: start, memory, reload", "2 s, 64 MB, 1 s", *self.goal_domains())]
        return table(("figure", "goal", "this module", "packaged"), rows)

    def goal_cost(self, allocator, kinds):
        found = []
        for module in ("ours", "packaged"):
            worst = max((self.above(f"{module} {allocator}", k) for k in kinds), key=lambda v: median(v) or 0)
            found.append(figure(worst))
        return found

    def goal_bare(self, allocator):
        return [figure(ratios(self.above(f"{module} {allocator}", FULL), self.above("bare", FULL))) for module in ("ours", "packaged")]

    def goal_many(self):
        told = [figure(ratios(self.get("many", f"ours {FULL} {c}"), self.get("many", f"ours {FULL} 1"))) for c in (50, 200)]
        return " and ".join(told), "dies"

    def goal_idle(self):
        live = (self.get("floor", FULL, "live_asked") or [0])[0]
        found = []
        for module in ("ours", "packaged"):
            above = self.idle_above(f"{module} qm", "asked")
            found.append(f"{above / live:.2f}" if above and live else NONE)
        return found

    def goal_crowd(self):
        kind = FULL
        quiet, busy = (self.get("crowd", f"{kind} {s}", "reply_us") for s in ("quiet", "busy"))
        failed = sum(self.get("crowd", f"{kind} new", "failed")) + sum(self.get("crowd", f"{kind} standing", "failed"))
        return (figure(ratios([b["p99"] for b in busy], [q["p99"] for q in quiet])) + f"; {failed}" if quiet else NONE), "–"

    def goal_domains(self):
        values, none = self.parts("domains").get("ours 1000"), self.parts("domains").get("ours none")
        if not values or "start" not in values:
            return NONE, NONE
        return (f"{median(values['start']) - median(none['start']):.2f} s, {(median(values['memory']) - median(none['memory'])) / 1048576:.1f} MB, "
                f"{median(values['renewal']):.2f} s"), self.goal_domains_packaged()

    def goal_domains_packaged(self):
        one = self.parts("domains").get("packaged 1", {})
        if "start" not in one:
            return NONE
        return f"one domain: {one['start'][0]:.0f} s, {one['memory'][0] / 1048576:.0f} MB, {one['reload'][0]:.0f} s"

    def table_runs(self):
        machine = self.n.get("machine", {})
        rows = [(name, run["module"], run["rounds"], f"{run['seconds']} s", " to ".join(map(str, run["load"])), self.others(name), "yes" if run.get("ahead") else "no")
                for name, run in self.n.get("runs", {}).items()]
        return (f"{machine.get('processor')}, {machine.get('cores')} cores; {machine.get('openssl', '').split('(')[0].strip()}; host "
                f"{machine.get('host')}; {machine.get('haproxy', '').split(' - ')[0]}\n\n" +
                table(("part", "commit", "rounds", "took", "load average of the machine", "used by others", "ahead of them"), rows))

    def others(self, part):
        """How much of the machine went to what is no part of the benchmark, in the median sample of a part."""
        shares = [share for subject in self.parts(part).values() for share in subject.get("others", [])]
        return f"{median(shares) * 100:.0f}%" if shares else NONE

    TABLES = {"goals": table_goals, "floor": table_floor, "split": table_split, "cost": table_cost, "many": table_many, "requests": table_requests,
              "latency": table_latency, "idle": table_idle, "growth": table_growth, "crowd": table_crowd, "workers": table_workers,
              "domains": table_domains, "settings": table_settings, "profile": table_profile, "death": table_death, "runs": table_runs}

    def tables(self):
        """{name: markdown} of what was measured."""
        return {name: make(self) for name, make in self.TABLES.items() if name in ("goals", "runs") or self.parts(name)}


# -- pictures --------------------------------------------------------------------------------------------------------

COLOURS = {"ours": "#2a6f97", "packaged": "#c1440e", "haproxy": "#7a7a7a", "bare": "#bdbdbd"}


def colour(subject):
    return COLOURS[subject.split()[0]]


def picture_cost(report, axes):
    """Bars: CPU above plain TCP in floors."""
    subjects = [s for s in ("ours qm", "ours fm", "packaged qm", "packaged fm", "haproxy", "bare") if report.get("cost", f"{s} plain")]
    kinds = [k for k in KINDS if report.get("cost", f"floor {k}")]
    width = 0.85 / max(1, len(subjects))
    for i, subject in enumerate(subjects):
        values = [report.above(subject, k) for k in kinds]
        heights = [median(v) or 0 for v in values]
        spread = [[h - quarter(v, 0.25) if v else 0 for h, v in zip(heights, values)],
                  [quarter(v, 0.75) - h if v else 0 for h, v in zip(heights, values)]]
        axes.bar([x + i * width for x in range(len(kinds))], heights, width, yerr=spread, label=subject, color=colour(subject),
                 alpha=0.6 if subject.endswith("fm") and not subject.startswith("haproxy") else 1, ecolor="#333", error_kw={"lw": 0.7})
    axes.set_xticks([x + 0.4 for x in range(len(kinds))], [spoken(k).replace(", ", "\n") for k in kinds], fontsize=7)
    axes.axhline(1, color="#222", lw=0.8, ls="--")
    axes.set_yscale("log")
    axes.set_ylabel("(CPU − plain TCP's) / OpenSSL alone")
    axes.set_title("Server CPU for a connection, one client")


def picture_many(report, axes):
    """Bars: the same with many clients at once."""
    servers = [name for name in ("ours", "ours fm", "haproxy") if report.get("many", f"{name} {FULL} 1")]
    for i, name in enumerate(servers):
        heights = [median(report.many_above(name, clients)) or 0 for clients in (1, 50, 200)]
        axes.bar([x + i * 0.28 for x in range(3)], heights, 0.28, label=name, color=colour(name), alpha=0.6 if name.endswith("fm") else 1)
    axes.set_xticks([x + 0.28 for x in range(3)], ["1 client", "50 clients", "200 clients"])
    axes.axhline(1, color="#222", lw=0.8, ls="--")
    axes.set_ylabel("(CPU − plain TCP's) / OpenSSL alone")
    axes.set_title("Server CPU for a connection, ECDSA, TLS 1.3")


def picture_memory(report, axes):
    """Bars: memory of an idle connection in OpenSSL's live bytes."""
    states = (("fresh", FULL, "live_no_request"), ("asked", FULL, "live_asked"), ("resumed", "ec 1.3 resumed", "live_asked"),
              ("asked 1.2", "ec 1.2 full", "live_asked"))
    subjects = [s for s in SUBJECTS[:6] if report.parts("idle").get(f"{s} plain")]
    width = 0.85 / max(1, len(subjects))
    for i, subject in enumerate(subjects):
        heights = [(report.idle_above(subject, state) or 0) / (report.get("floor", kind, name) or [1])[0] for state, kind, name in states]
        axes.bar([x + i * width for x in range(len(states))], heights, width, label=subject, color=colour(subject),
                 alpha={"qm": 1, "fm": 0.7, "tlsf": 0.45}[subject.split()[1]])
    axes.set_xticks([x + 0.4 for x in range(len(states))], [s for s, _, _ in states])
    axes.axhline(1, color="#222", lw=0.8, ls="--")
    axes.set_ylabel("(shared memory − plain TCP's) / live bytes")
    axes.set_title("Shared memory of an idle connection")


def picture_growth(report, axes):
    """Lines: what one costs when many stand."""
    counts = sorted(int(k.rsplit(" ", 1)[1]) for k in report.parts("growth") if not k.startswith(("plain", "floor")))
    live = (report.get("floor", FULL, "live_asked") or [1])[0]
    floor = [median(report.get("growth", f"floor {FULL}"))] * 99
    memory = [(median(report.get("growth", f"{FULL} {c}", "bytes")) - median(report.get("growth", f"plain {c}", "bytes"))) / live for c in counts]
    cpu = [median(ratios(report.get("growth", f"{FULL} {c}"), floor, report.get("growth", f"plain {c}"))) for c in counts]
    axes.plot(counts, memory, "o-", color=COLOURS["ours"], label="memory of each / live bytes")
    axes.plot(counts, cpu, "s-", color=COLOURS["packaged"], label="CPU of a new one / floor")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("connections that stand")
    axes.set_title("This module, above plain TCP")


def picture_crowd(report, axes):
    """Lines: latencies of those who stand, quiet and with 200 new ones a second."""
    marks = ("p50", "p90", "p99", "p999")
    base = median([r["p50"] for r in report.get("crowd", "plain quiet", "reply_us")]) or 1
    for kind, tint in (("plain", "#7a7a7a"), (FULL, COLOURS["ours"])):
        for state, style in (("quiet", "--"), ("busy", "-")):
            rounds = report.get("crowd", f"{kind} {state}", "reply_us")
            axes.plot(marks, [(median([r[m] for r in rounds]) or 0) / base for m in marks], style, color=tint, marker="o", ms=3,
                      label=f"{spoken(kind)}, {'quiet' if state == 'quiet' else '200 new a second'}")
    axes.set_yscale("log")
    axes.set_ylabel("latency / plain TCP's median in quiet")
    standing = report.get("crowd", "plain standing", "connections")
    axes.set_title(f"Requests on {standing[0] if standing else ''} standing connections")


PICTURES = {"cost": picture_cost, "many": picture_many, "idle": picture_memory, "growth": picture_growth, "crowd": picture_crowd}


def draw(report, folder):
    """One SVG for each part that was measured."""
    import matplotlib  # only where pictures are wanted
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "performance", "font.size": 9})
    from matplotlib import pyplot
    for name, make in PICTURES.items():
        if not report.parts(name):
            continue
        drawing, axes = pyplot.subplots(figsize=(9 if name == "cost" else 6.5, 4))
        make(report, axes)
        axes.legend(fontsize=7)
        axes.grid(axis="y", lw=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        drawing.tight_layout()
        drawing.savefig(os.path.join(folder, f"performance-{name}.svg"), metadata={"Date": None})
        pyplot.close(drawing)


def place(text, tables):
    """The document with its tables renewed."""
    def renewed(found):
        return f"<!-- table {found[1]} -->\n{tables.get(found[1], found[2].strip())}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->\n(.*?)<!-- end -->", renewed, text, flags=re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", default=os.path.join(TOP, "build", "bench", "numbers.json"))
    parser.add_argument("--doc", help="the folder with performance.md")
    parser.add_argument("--pictures", help="a folder for the pictures alone")
    asked = parser.parse_args()
    with open(asked.numbers, encoding="utf-8") as f:
        report = Report(json.load(f))
    tables = report.tables()
    for name, text in tables.items():
        print(f"\n## {name}\n\n{text}")
    sys.stdout.flush()
    for folder in filter(None, (asked.doc, asked.pictures)):
        os.makedirs(folder, exist_ok=True)
        draw(report, folder)
    if asked.doc:
        path = os.path.join(asked.doc, "performance.md")
        with open(path, encoding="utf-8") as f:
            text = place(f.read(), tables)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        kept = os.path.join(asked.doc, "performance.json")
        if os.path.abspath(asked.numbers) != os.path.abspath(kept):
            shutil.copyfile(asked.numbers, kept)


if __name__ == "__main__":
    main()
