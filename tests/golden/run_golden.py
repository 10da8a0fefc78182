#!/usr/bin/env python3
"""Golden tests of the command line: every folder below `cli` is a case.

    cmd      one command a line, as typed, beginning with `dyn`; all but the last must exit with 0
    input/   files of the folder that the commands run in (a temporary copy)
    stdout   what the last command must print, and stderr likewise
    exit     its exit code; 0 where absent
    loose    where present, numbers are compared as N and runs of spaces as one: the figures of a
             prediction change with the model, the form of the output does not
    files    where present, files that must exist afterwards, and be equal to expected/NAME if
             that exists

usage: run_golden.py DYN [--bless] [PATTERN]    exits 1 if a case differs; --bless rewrites them
"""

import argparse
import concurrent.futures
import difflib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def normalise(text, loose, folder):
    text = text.replace(str(folder), 'DIR')
    if loose:
        text = re.sub(r'[-+]?\d+(\.\d+)?(e[-+]?\d+)?', 'N', text)
        text = re.sub(r'\bN m?s\b', 'N T', text)
        text = re.sub(r'[ \t]+', ' ', text)
    return text


def run_case(case, dyn):
    """Runs a case; returns its outcome as {file name: content}."""
    loose = (case / 'loose').exists()
    with tempfile.TemporaryDirectory(prefix='dyn-golden-') as name:
        folder = pathlib.Path(name)
        if (case / 'input').exists():
            shutil.copytree(case / 'input', folder, dirs_exist_ok=True)
        commands = [c for c in (case / 'cmd').read_text().splitlines() if c.strip()]
        for command in commands:
            words = [w.replace('@ROOT@', str(ROOT)) for w in shlex.split(command)]
            assert words[0] == 'dyn', f'{case.name}: a command begins with dyn'
            run = subprocess.run([dyn] + words[1:], cwd=folder, capture_output=True, text=True,
                                 stdin=subprocess.DEVNULL, timeout=120,
                                 env={**os.environ, 'LC_ALL': 'C.UTF-8'})
            if command is not commands[-1] and run.returncode != 0:
                return {'stderr': f'{command}: exit {run.returncode}\n{run.stderr}'}
        result = {'stdout': normalise(run.stdout, loose, folder),
                  'stderr': normalise(run.stderr, loose, folder),
                  'exit': f'{run.returncode}\n'}
        if (case / 'files').exists():
            for path in (case / 'files').read_text().split():
                made = folder / path
                key = f'expected/{path.replace("/", "_")}'
                text = made.read_text() if made.is_file() else None
                if text is None:
                    result[key] = '(not written)\n'
                elif (case / key).exists():
                    result[key] = normalise(text, loose, folder)
        return result


def expected_of(case, key):
    path = case / key
    return path.read_text() if path.exists() else ('0\n' if key == 'exit' else '')


def bless(case, outcome):
    for key, text in outcome.items():
        path = case / key
        if key == 'exit' and text == '0\n' or key in ('stdout', 'stderr') and not text:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def differences(case, outcome):
    lines = []
    for key, text in outcome.items():
        wanted = expected_of(case, key)
        if text != wanted:
            lines += difflib.unified_diff(wanted.splitlines(), text.splitlines(),
                                          f'{case.name}/{key} (expected)', f'{case.name}/{key}',
                                          lineterm='')
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('dyn')
    parser.add_argument('pattern', nargs='?', default='')
    parser.add_argument('--bless', action='store_true')
    args = parser.parse_args()
    dyn = str(pathlib.Path(args.dyn).resolve())
    cases = sorted(p.parent for p in (HERE / 'cli').glob('*/cmd') if args.pattern in p.parent.name)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for case, outcome in zip(cases, pool.map(lambda c: run_case(c, dyn), cases)):
            if args.bless:
                bless(case, outcome)
                continue
            lines = differences(case, outcome)
            failed += bool(lines)
            print('\n'.join(lines) if lines else f'ok {case.name}')
    if not cases:
        print('no cases')
        return 1
    print(f'{len(cases)} cases, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
