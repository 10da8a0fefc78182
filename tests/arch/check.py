#!/usr/bin/env python3
"""House rules that a compiler does not check: which room may use which, and how long a file may be.

Prints file:line for everything that is wrong; exits 1 if anything is.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_LINES = 800

# Room -> (folder, rooms whose headers it may include). As docs/architecture.md.
CORE = {'core'}
ROOMS = {
    'core': ('core', set()),
    'kernels': ('kernels', CORE),
    'perf': ('profiler/perf', CORE),
    'kvbm': ('kvbm', CORE),
    'policy': ('serve/policy', CORE | {'kvbm', 'perf'}),
    'engine': ('serve/engine', CORE | {'kvbm', 'perf', 'policy'}),
    'sim': ('sim', CORE | {'kvbm', 'perf', 'policy', 'engine'}),
    'profiler': ('profiler', CORE | {'kernels', 'perf'}),
    'eval': ('profiler/eval', CORE | {'kernels', 'perf', 'kvbm', 'policy', 'engine', 'sim',
                                       'profiler'}),
    'configurator': ('configurator', CORE | {'kvbm', 'perf', 'policy', 'engine', 'sim'}),
    'serve': ('serve', CORE | {'kvbm', 'perf', 'policy', 'engine'}),
    'cli': ('cli', None),  # all
}
# Third-party headers that may appear only in some rooms (or nowhere but the named ones).
HEAVY = {
    r'boost/(asio|beast)': {'serve'},
    r'CLI/': {'cli'},
    r'yaml-cpp/': {'core', 'configurator'},
    r'prometheus/': {'serve'},
    r'Eigen/': {'perf', 'profiler', 'eval'},
    r'cuda': set(),
}
# Only cli prints or exits.
PRINTS = re.compile(r'\b(std::cout|std::cerr|std::printf|std::puts|std::exit)\b|[^\w:]printf\(')


def tracked():
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, text=True,
                            capture_output=True, check=True).stdout.split('\n')
    return [p for p in listed if p and (ROOT / p).is_file()]


def room_of(path):
    best = None
    for room, (folder, _) in ROOMS.items():
        if path.startswith(folder + '/') and (best is None or len(folder) > len(ROOMS[best][0])):
            best = room
    return best


def check_source(path, room, text, problems):
    allowed = ROOMS[room][1]
    for number, line in enumerate(text.split('\n'), 1):
        where = f'{path}:{number}'
        include = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if include:
            header = include.group(1)
            other = re.match(r'dyn/([a-z_]+)/', header)
            if other and other.group(1) != room and allowed is not None \
                    and other.group(1) not in allowed:
                problems.append(f'{where}: {room} may not include {header}')
            for pattern, users in HEAVY.items():
                if re.match(pattern, header) and room not in users:
                    problems.append(f'{where}: {room} may not include {header}')
            if path.endswith('.h') and '/include/' in path and re.match(
                    r'(boost/(asio|beast)|nlohmann/json\.hpp|yaml-cpp|fmt/|CLI/|Eigen)', header):
                problems.append(f'{where}: {header} is too heavy for a public header')
        elif room != 'cli' and not path.endswith('core/src/check.cpp') \
                and '/tools/' not in path and PRINTS.search(re.sub(r'//.*', '', line)):
            problems.append(f'{where}: only cli prints or exits')


def check_links(problems):
    """What a room's CMakeLists.txt links must be what the table allows."""
    for room, (folder, allowed) in ROOMS.items():
        cmake = ROOT / folder / 'CMakeLists.txt'
        if allowed is None or not cmake.exists():
            continue
        call = re.search(r'dyn_library\(.*?\n?[^#]*?\)', cmake.read_text(), re.S)
        for linked in re.findall(r'dyn::([a-z_]+)', call.group(0) if call else ''):
            if linked not in allowed and linked != room:
                problems.append(f'{folder}/CMakeLists.txt:1: {room} may not link dyn::{linked}')


def main():
    problems = []
    for path in tracked():
        if not path.endswith(('.cpp', '.h', '.py', '.sh', '.md', '.txt', '.yaml')):
            continue
        text = (ROOT / path).read_text(errors='replace')
        generated = path.startswith(('docs/reference/', 'docs/schema/'))
        lines = text.count('\n')
        if lines > MAX_LINES and not generated and path.endswith(('.cpp', '.h', '.py', '.sh')):
            problems.append(f'{path}:{lines}: longer than {MAX_LINES} lines')
        room = room_of(path)
        if room and path.endswith(('.cpp', '.h')):
            check_source(path, room, text, problems)
    check_links(problems)
    for room, (folder, _) in ROOMS.items():
        if not (ROOT / folder / 'README.md').exists():
            problems.append(f'{folder}/README.md:1: every room has a README of a page')
    print('\n'.join(problems) or 'house rules: ok')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
