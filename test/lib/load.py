"""Runs the load generator and reads its one line of counts."""

import json
import signal
import subprocess

from host import wait_for


class Load:
    """load(port, connections=1000, parallel=50, tls="1.3", kill_percent=10, ...): the counts as a dict."""

    def __init__(self, binary):
        self.binary = binary

    def words(self, port, **options):
        """The command line; an option's underscores become dashes, True means a switch."""
        words = [self.binary, "--port", str(port)]
        for name, value in options.items():
            if value is True:
                words.append("--" + name.replace("_", "-"))
            elif value not in (None, False):
                words += ["--" + name.replace("_", "-"), str(value)]
        return words

    def start(self, port, **options):
        """Starts it beside the test; finish() waits for it. Its signals wait until it knows what to do with them."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})  # a new process inherits that
        try:
            return subprocess.Popen(self.words(port, **options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @staticmethod
    def finish(process, timeout=700):
        """Waits for a started one and returns its counts."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        assert out.strip(), f"the load generator said nothing; status {process.returncode}: {err}"
        return json.loads(out.strip().splitlines()[-1])

    @staticmethod
    def interim(process):
        """The counts so far of one that runs."""
        process.send_signal(signal.SIGUSR1)
        return json.loads(process.stdout.readline())

    def wait_standing(self, process, count, timeout=60):
        """Waits until so many connections of one that runs stand: after their handshakes, with their first replies."""
        return wait_for(lambda: self.interim(process)["standing"] == count, timeout, f"{count} standing connections", 0.1)

    def __call__(self, port, **options):
        options.setdefault("time_limit", 600)  # far more than a machine needs that has a few other things to do
        return self.finish(self.start(port, **options))

    def clean(self, port, **options):
        """A load in which nothing may fail; a failure shows the counts."""
        counts = self(port, **options)
        assert counts["failed"] == 0, f"{counts['failed']} connections failed: {counts}"
        assert counts["ok"] + counts["killed"] == options["connections"], counts
        return counts
