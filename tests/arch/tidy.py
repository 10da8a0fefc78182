#!/usr/bin/env python3
"""Runs clang-tidy over the project's sources, two at a time; skips those that have not changed
since they were last found clean (by the hash of their preprocessed dependencies' contents)."""

import concurrent.futures
import hashlib
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def headers_of(source, seen):
    """The project's headers that a file includes, directly or not."""
    for name in re.findall(r'#\s*include\s*"([^"]+)"', source.read_text(errors='replace')):
        for base in BASES + [source.parent]:
            header = base / name
            if header.exists() and header not in seen:
                seen.add(header)
                headers_of(header, seen)
    return seen


BASES = sorted(p for p in ROOT.glob('**/include') if 'build' not in p.parts)


def key(source):
    digest = hashlib.sha256((ROOT / '.clang-tidy').read_bytes())
    for path in [source] + sorted(headers_of(source, set())):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run(build, source, stamps):
    stamp = stamps / key(source)
    if stamp.exists():
        return ''
    done = subprocess.run(
        ['clang-tidy-14', '--quiet', '-p', str(build), str(source),
         '--extra-arg=-Wno-unknown-warning-option'],
        text=True, capture_output=True, cwd=ROOT)
    if done.returncode == 0:
        stamp.touch()
        return ''
    return done.stdout + ('' if done.stdout.strip() else done.stderr)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    commands = json.loads((build / 'compile_commands.json').read_text())
    sources = sorted({pathlib.Path(c['file']) for c in commands
                      if c['file'].startswith(str(ROOT)) and '/build/' not in c['file']
                      and '/tests/' not in c['file'].removeprefix(str(ROOT))})
    stamps = ROOT / 'build' / 'tidy'
    stamps.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outputs = [o for o in pool.map(lambda s: run(build, s, stamps), sources) if o]
    print('\n'.join(outputs) or f'clang-tidy: {len(sources)} files clean')
    return 1 if outputs else 0


if __name__ == '__main__':
    sys.exit(main())
