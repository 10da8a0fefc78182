"""What the end-to-end scripts share: a virtual environment, a plan made by dyn, a running server."""

import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

SKIPPED = 77  # the exit code that ctest and the benchmark runner count as skipped
MODEL = 'meta-llama/Llama-3.1-8B'

RECIPE = """schema: dyn.recipe/1
model: %s
hardware: {gpu: h100-sxm, count: %d}
traffic: {isl: 512, osl: 64, rate: 2 req/s, requests: 20}
slo: {ttft_p99: 20s, itl_p99: 500ms}
search: {aggregated: %s, disaggregated: %s, tensor: [1], replay: 1}
"""


def skip(why):
    print(f'skipped: {why}')
    sys.exit(SKIPPED)


def virtual_environment(build, name, packages, python=sys.executable):
    """A virtual environment below the build folder with these packages from PyPI, kept between
    runs. Skips the script where pip cannot install them."""
    folder = pathlib.Path(build).resolve().parent / 'venv' / name
    stamp = folder / 'installed.txt'
    wanted = '\n'.join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        for command in ([python, '-m', 'venv', str(folder)],
                        [str(folder / 'bin/pip'), 'install', '-q',
                         '--disable-pip-version-check', *packages]):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                skip(f'cannot install {" ".join(packages)}: '
                     f'{(done.stderr or done.stdout).strip().splitlines()[-1:]}')
        stamp.write_text(wanted)
    return folder / 'bin'


def make_plan(dyn, folder, disaggregated=False, change=None):
    """Simulates a small recipe and writes its best plan; returns the plan's path."""
    folder = pathlib.Path(folder)
    kinds = ('false', 'true') if disaggregated else ('true', 'false')
    (folder / 'recipe.yaml').write_text(RECIPE % (MODEL, 2, *kinds))
    for command in (['simulate', str(folder / 'recipe.yaml'), '-o', str(folder / 'out')],
                    ['plan', str(folder / 'out/result.json'), '-o', str(folder / 'plan.json')]):
        done = subprocess.run([dyn, '--quiet', *command], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f'dyn {" ".join(command)}: {done.stderr}')
    path = folder / 'plan.json'
    if change:
        plan = json.loads(path.read_text())
        change(plan)
        path.write_text(json.dumps(plan))
    return path


class Served:
    """A running `dyn serve`; `stop` ends it with a signal and returns its exit code."""

    def __init__(self, dyn, plan, *flags):
        self.process = subprocess.Popen([dyn, 'serve', str(plan), '--port', '0', *flags],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.match(r'listening on (http://\S+)', line)
        if not found:
            raise RuntimeError(f'dyn serve said {line!r} and ended with {self.process.wait(20)}')
        self.url = found.group(1)
        self.port = int(self.url.rsplit(':', 1)[1])

    def stop(self, number=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


@contextlib.contextmanager
def served(dyn, plan, *flags):
    server = Served(dyn, plan, *flags)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory(prefix='dyn-e2e-') as folder:
        yield pathlib.Path(folder)


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
