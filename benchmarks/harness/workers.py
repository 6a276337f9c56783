"""Processes that run one step when asked: PyTorch variants and reckon settings look the same from here."""
import json
import os
import selectors
import subprocess
import time

PROBLEM = "problem"


class Worker:
    """Starts a command that says 'ready', then answers each line 'step' with its seconds and at the end writes JSON."""

    def __init__(self, name, command, json_path, env=None, timeout=420):
        self.name, self.command, self.json_path, self.timeout = name, [str(c) for c in command], str(json_path), timeout
        self.seconds, self.failure, self.errors = [], None, open(str(json_path) + ".err", "w+")
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env=os.environ | (env or {}), bufsize=1)
        begin = time.monotonic()
        self._read("ready")
        self.start_seconds = time.monotonic() - begin

    def _fail(self, what):
        self.failure = what
        self.close()

    def _last_words(self):
        self.errors.flush()
        self.errors.seek(0)
        lines = [x.strip() for x in self.errors.read().splitlines() if x.strip()]
        return lines[-1][:200] if lines else f"exit code {self.process.poll()}"

    def _read(self, expected=None):
        """Next line; with `expected` everything before that line is passed over."""
        if self.failure:
            return None
        with selectors.DefaultSelector() as s:
            s.register(self.process.stdout, selectors.EVENT_READ)
            end = time.monotonic() + self.timeout
            while True:
                if not s.select(max(0.0, end - time.monotonic())):
                    self._fail(f"no answer within {self.timeout} s")
                    return None
                line = self.process.stdout.readline()
                if not line:
                    self.process.wait()
                    self._fail(self._last_words())
                    return None
                line = line.strip()
                if expected is None or line == expected:
                    return line

    def step(self):
        if self.failure:
            return None
        try:
            self.process.stdin.write("step\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._fail(self._last_words())
            return None
        line = self._read()
        if line is None:
            return None
        self.seconds.append(float(line))
        return self.seconds[-1]

    def finish(self):
        """Ends the process; its figures, or {'problem': why there are none}."""
        if not self.failure:
            try:
                self.process.stdin.close()
                self.process.wait(self.timeout)
            except subprocess.TimeoutExpired:
                self._fail(f"did not end within {self.timeout} s")
            if not self.failure and self.process.returncode != 0:
                self._fail(self._last_words())
        if self.failure:
            return {PROBLEM: self.failure}
        with open(self.json_path) as f:
            result = json.load(f)
        self.close()
        return result | {"start_seconds": self.start_seconds}

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def run_once(command, json_path, env=None, timeout=420):
    """A command that writes JSON and ends; {'problem': ...} when it does not."""
    try:
        r = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=os.environ | (env or {}), timeout=timeout)
    except subprocess.TimeoutExpired:
        return {PROBLEM: f"no answer within {timeout} s"}
    if r.returncode != 0:
        lines = [x for x in (r.stderr + r.stdout).splitlines() if x.strip()]
        return {PROBLEM: lines[-1][:200] if lines else f"exit code {r.returncode}"}
    with open(json_path) as f:
        return json.load(f)
