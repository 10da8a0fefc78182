#!/usr/bin/env python3
"""Line coverage of the rooms that decide things, from gcovr; fails below --at-least."""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = ['core', 'kvbm', 'serve/policy', 'serve/engine', 'sim']


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('build')
    parser.add_argument('--at-least', type=float, default=85)
    args = parser.parse_args()
    output = subprocess.run(
        ['gcovr', '-r', str(ROOT), '--json-summary', '-', '--exclude-throw-branches', '-j2',
         '--gcov-ignore-parse-errors', *sum([['-f', f'{ROOT}/{r}/'] for r in ROOMS], []),
         args.build],
        text=True, capture_output=True, check=True).stdout
    files = json.loads(output)['files']
    low = False
    for room in ROOMS:
        mine = [f for f in files if f['filename'].startswith(room + '/')]
        total = sum(f['line_total'] for f in mine)
        covered = sum(f['line_covered'] for f in mine)
        percent = 100.0 * covered / total if total else 0.0
        low |= percent < args.at_least
        print(f'{room:14} {covered:6}/{total:<6} {percent:5.1f} %')
    return 1 if low else 0


if __name__ == '__main__':
    sys.exit(main())
