#!/usr/bin/env python3
"""How fast fleets are simulated, side by side with Dynamo's offline replay where that is at hand.

Each scenario runs on both sides in turn, several times; medians are printed, and the ratio of the
peer's time to ours. Our side is `dyn simulate` as a whole process: start, recipe, load, simulation,
report, and for the Mooncake trace all result files. The peer's side is the call of its replay, in a
process that has it loaded. Both have exact blocks of 64 tokens, prefix caching, and Dynamo's default
step times, which cost next to nothing; `--timing model` prices our side with the latency model.

The peer is any Python that can `import dynamo._core` (PyPI: ai-dynamo-runtime==1.6.1, alone):
DYN_PEER_PYTHON=/path/to/venv/bin/python. Without it this is skipped, unless `--scale` asks for our
own cost from 10^4 to 10^7 requests.

usage: replay_vs_peer_bench.py BUILD_DIR [--timing model] [--repeats N] [--scale]
                              [--scenario NAME ...]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
TRACE = ROOT.parent / 'shared/data/traces/conversation_trace.jsonl'

RECIPE = '''schema: dyn.recipe/1
model: Qwen/Qwen3-32B
weights: fp8
%(hardware)stiming: {kind: %(timing)s}
engine: {block_size: 64, kv_blocks: 16384, max_num_seqs: 256, max_num_batched_tokens: 8192,
         max_model_len: 200000}
router: {kind: %(router)s, max_queued_per_worker: 1000000}
traffic: %(traffic)s
deployment: {pools: %(pools)s}
'''

PEER = '''
import json, resource, sys, time
import dynamo._core as core
function, arguments, repeats = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
for _ in range(repeats):
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    getattr(core, function)(**arguments)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([wall, cpu]), flush=True)
'''


def pool(replicas, role='aggregated', ranks=1):
    return '{role: %s, replicas: %d, layout: {tensor: 2, data: %d}}' % (role, replicas, ranks)


def engine(role='aggregated', **rest):
    return dict(engine=dict(backend='vllm', worker_type=role, block_size=64, num_gpu_blocks=16384,
                            max_num_seqs=256, max_num_batched_tokens=8192), **rest)


class Scenario:
    """One load and fleet, as both sides put it; `least` is the ratio that is asked for."""

    def __init__(self, name, least, pools, router, traffic, function, arguments):
        self.name, self.least = name, least
        self.recipe = dict(pools='[' + ', '.join(pools) + ']', router=router, traffic=traffic)
        self.function, self.arguments = function, arguments


def synthetic(name, least, requests, isl, osl, concurrency, pools, router='round_robin',
              shared=0.0, groups=1, **peer):
    traffic = (f'{{isl: {isl}, osl: {osl}, requests: {requests}, concurrency: {concurrency}, '
               f'length_spread: 0, shared_prefix: {int(shared * isl)}, prefix_groups: {groups}}}')
    arguments = dict(input_tokens=isl, output_tokens=osl, request_count=requests,
                     replay_concurrency=concurrency, **peer)
    if shared:
        arguments.update(shared_prefix_ratio=shared, num_prefix_groups=groups)
    return Scenario(name, least, pools, router, traffic, 'run_mocker_synthetic_trace_replay',
                    arguments)


def conversation(least, workers, router, mode):
    traffic = f'{{trace: {TRACE}, spread_ticks: false}}'
    arguments = dict(trace_files=[str(TRACE)], extra_engine_args=engine(), num_workers=workers,
                     trace_block_size=512, router_mode=mode)
    return Scenario(f'conversation_{workers}_{mode}', least, [pool(workers)], router, traffic,
                    'run_mocker_trace_replay', arguments)


def dense(name, requests):
    return synthetic(name, 25, requests, 1024, 128, 64, [pool(1)], extra_engine_args=engine())


def scenarios():
    return [
        dense('dense_c64', 131072),
        synthetic('disagg_1p2d', 25, 50000, 1024, 128, 64,
                  [pool(1, 'prefill'), pool(2, 'decode')],
                  prefill_engine_args=engine('prefill'), decode_engine_args=engine('decode'),
                  num_prefill_workers=1, num_decode_workers=2),
        synthetic('dp8_x2', 15, 50000, 1024, 128, 1024, [pool(2, ranks=8)],
                  extra_engine_args=engine(dp_size=8), num_workers=2),
        synthetic('kv_router_128', 15, 20000, 4096, 64, 4096, [pool(128)], 'kv_aware', 0.5, 64,
                  extra_engine_args=engine(), num_workers=128, router_mode='kv_router'),
        synthetic('long_100k', 10, 2000, 100000, 400, 32, [pool(4)], 'kv_aware', 0.9, 8,
                  extra_engine_args=engine(), num_workers=4, router_mode='kv_router'),
        conversation(50, 1, 'round_robin', 'round_robin'),
        conversation(40, 8, 'kv_aware', 'kv_router'),
    ]


def run_ours(build, folder, scenario, timing):
    """(wall, cpu, peak MB) of one process."""
    recipe = folder / f'{scenario.name}.yaml'
    hardware = 'hardware: {gpu: h200}\n' if timing == 'model' else ''
    recipe.write_text(RECIPE % dict(scenario.recipe, timing=timing, hardware=hardware))
    command = [str(build / 'bin/dyn'), 'simulate', str(recipe)]
    if scenario.function == 'run_mocker_trace_replay':
        command += ['-o', str(folder / scenario.name)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f'{" ".join(command)}: {process.returncode}\n{errors.decode()}')
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def run_peer(python, scenario, repeats):
    """(wall, cpu) of each call."""
    environment = dict(os.environ, DYN_LOG='error')
    done = subprocess.run([python, '-c', PEER, scenario.function, json.dumps(scenario.arguments),
                           str(repeats)], stdout=subprocess.PIPE, env=environment, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def median(values):
    return statistics.median(values)


def compare(options, python, folder):
    print('scenario                     dyn s  (CPU s)   peer s  (CPU s)    ratio  (CPU)   asked')
    missed = 0
    for scenario in scenarios():
        if options.scenario and scenario.name not in options.scenario:
            continue
        if scenario.function == 'run_mocker_trace_replay' and not TRACE.exists():
            print(f'{scenario.name}: skipped: the trace is not at hand')
            continue
        ours, peer = [], []
        for _ in range(options.repeats):
            ours += [run_ours(options.build, folder, scenario, options.timing) for _ in range(3)]
            peer += run_peer(python, scenario, 1)
        mine = [median(values) for values in zip(*ours)]
        theirs = [median(values) for values in zip(*peer)]
        least = scenario.least if options.timing == 'polynomial' else scenario.least / 2
        missed += theirs[1] / mine[1] < least
        print(f'{scenario.name:26} {mine[0]:7.3f} ({mine[1]:6.3f})  {theirs[0]:7.3f} '
              f'({theirs[1]:6.3f})  {theirs[0] / mine[0]:6.1f} ({theirs[1] / mine[1]:6.1f})'
              f'  >= {least:g}', flush=True)
    return 1 if missed else 0


def scale(options, folder):
    print('requests      dyn s  (CPU s)   us CPU a request   peak MB')
    for power in range(4, 8):
        scenario = dense(f'dense_1e{power}', 10 ** power)
        wall, cpu, peak = run_ours(options.build, folder, scenario, options.timing)
        print(f'10^{power}       {wall:8.3f} ({cpu:7.3f})  {cpu / 10 ** power * 1e6:10.3f}'
              f'        {peak:8.0f}', flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--scenario', action='append', default=[])
    parser.add_argument('--timing', default='polynomial', choices=['polynomial', 'model'])
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--scale', action='store_true')
    options = parser.parse_args()
    options.build = options.build.resolve()
    with tempfile.TemporaryDirectory() as name:
        if options.scale:
            return scale(options, pathlib.Path(name))
        python = os.environ.get('DYN_PEER_PYTHON')
        if not python:
            print('skipped: no Dynamo to compare with (DYN_PEER_PYTHON)')
            return 77
        return compare(options, python, pathlib.Path(name))


if __name__ == '__main__':
    sys.exit(main())
