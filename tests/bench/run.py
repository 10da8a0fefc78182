#!/usr/bin/env python3
"""Runs the benchmarks: every program bench_* that was built, then every script *_bench.py here.

usage: run.py BUILD_DIR [PATTERN]

Each writes what it prints to BUILD_DIR/results/NAME.txt. A script that lacks what it compares with
says so and exits with 77, which counts as skipped.
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    pattern = sys.argv[2] if len(sys.argv) > 2 else ''
    results = build / 'results'
    results.mkdir(exist_ok=True)
    programs = sorted(build.glob('bin/bench_*')) + sorted(HERE.glob('**/*_bench.py'))
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    for program in programs:
        if pattern not in program.name:
            continue
        print(f'== {program.name}', flush=True)
        command = [sys.executable, str(program), str(build)] if program.suffix == '.py' \
            else [str(program)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as process, \
                open(results / f'{program.stem}.txt', 'w') as log:
            for line in process.stdout:
                print(line, end='', flush=True)
                log.write(line)
        outcome = {0: 'passed', 77: 'skipped'}.get(process.returncode, 'failed')
        counts[outcome] += 1
    print(', '.join(f'{n} {k}' for k, n in counts.items()))
    return 1 if counts['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())
