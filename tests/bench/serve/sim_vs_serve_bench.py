#!/usr/bin/env python3
"""What is simulated is what is served: the same 200 requests through `dyn simulate` and `dyn serve`.

For an aggregated and a disaggregated plan: simulates a recipe against a generated trace, writes the
plan, serves it in real time, replays the trace over HTTP (streaming) and compares mean TTFT and ITL.

usage: sim_vs_serve_bench.py BUILD_DIR
"""

import asyncio
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

REQUESTS = 200
RATE = 5.0
BLOCK = 512
MODEL = 'meta-llama/Llama-3.1-8B'


def make_trace(path, seed=7):
    """Poisson arrivals; a third of the prompts begin with one of eight shared prefixes."""
    rng = random.Random(seed)
    now, next_id, shared = 0.0, 1000, [[8 * i + j for j in range(2)] for i in range(8)]
    with open(path, 'w') as out:
        for _ in range(REQUESTS):
            now += rng.expovariate(RATE)
            isl = max(64, min(6000, int(rng.lognormvariate(7.0, 0.7))))
            osl = max(8, min(300, int(rng.lognormvariate(4.4, 0.5))))
            count = -(-isl // BLOCK)
            ids = list(shared[rng.randrange(8)]) if rng.random() < 0.34 and count > 2 else []
            while len(ids) < count:
                ids.append(next_id)
                next_id += 1
            out.write(json.dumps({'timestamp': round(now * 1000), 'input_length': isl,
                                  'output_length': osl, 'hash_ids': ids}) + '\n')


def prompt_of(request):
    """One byte is one token; a block's text is its id, so equal ids give equal text."""
    text = ''.join((f'{block:08d} ' * (BLOCK // 9 + 1))[:BLOCK] for block in request['hash_ids'])
    return text[:request['input_length']]


RECIPE = """schema: dyn.recipe/1
model: %s
hardware: {gpu: l40s, count: %d}
traffic: {trace: trace.jsonl, spread_ticks: false}
slo: {ttft_p99: 20s, itl_p99: 500ms}
search: {aggregated: %s, disaggregated: %s, tensor: [1], replay: 1}
"""


async def one(port, request, start, results):
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, start + request['timestamp'] / 1000 - loop.time()))
    body = json.dumps({'model': MODEL, 'prompt': prompt_of(request), 'stream': True,
                       'max_tokens': request['output_length'], 'ignore_eos': True}).encode()
    sent = loop.time()
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(b'POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n'
                 b'Content-Type: application/json\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
    first = last = None
    tokens = 0
    async for line in reader:
        if line.startswith(b'data: {'):
            chunk = json.loads(line[6:])
            if chunk.get('choices') and chunk['choices'][0].get('text'):
                last = loop.time()
                first = first or last
                tokens += 1
    writer.close()
    results.append((first and first - sent, last and last - first, tokens,
                    request['output_length']))


async def replay(port, requests):
    results, start = [], asyncio.get_running_loop().time() + 0.5
    await asyncio.gather(*(one(port, r, start, results) for r in requests))
    failed = [r for r in results if not r[0] or r[2] != r[3]]
    ttft = sum(r[0] for r in results if r[0]) / len(results) * 1000
    itls = [r[1] / (r[2] - 1) * 1000 for r in results if r[0] and r[2] > 1]
    return ttft, sum(itls) / len(itls), len(failed)


def compare(dyn, name, recipe):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_trace(folder / 'trace.jsonl')
        (folder / 'recipe.yaml').write_text(recipe)
        run = lambda *args: subprocess.run([dyn, *args], check=True, capture_output=True, text=True)
        run('simulate', str(folder / 'recipe.yaml'), '-o', str(folder / 'out'))
        result = json.loads((folder / 'out/result.json').read_text())
        report = result['ranked'][0]['report']
        run('plan', str(folder / 'out/result.json'), '-o', str(folder / 'plan.json'))
        server = subprocess.Popen([dyn, 'serve', str(folder / 'plan.json'), '--port', '0'],
                                  stdout=subprocess.PIPE, text=True)
        try:
            port = int(re.search(r':(\d+)', server.stdout.readline().split('//')[1]).group(1))
            requests = [json.loads(line) for line in open(folder / 'trace.jsonl')]
            ttft, itl, failed = asyncio.run(replay(port, requests))
        finally:
            server.terminate()
            server.wait(60)
    sim_ttft = report['time_to_first_token']['avg']
    sim_itl = report['inter_token_latency']['avg']
    print(f'{name:14} requests {REQUESTS} failed {failed}  '
          f'TTFT simulated {sim_ttft:8.1f} served {ttft:8.1f} ms ({ttft / sim_ttft - 1:+.1%})  '
          f'ITL simulated {sim_itl:6.2f} served {itl:6.2f} ms ({itl / sim_itl - 1:+.1%})')
    return failed == 0 and abs(ttft / sim_ttft - 1) <= 0.10 and abs(itl / sim_itl - 1) <= 0.10


def main():
    build = pathlib.Path(sys.argv[1])
    dyn = str(build / 'bin/dyn')
    good = [compare(dyn, 'aggregated', RECIPE % (MODEL, 2, 'true', 'false')),
            compare(dyn, 'disaggregated', RECIPE % (MODEL, 3, 'false', 'true'))]
    print('within 10 %' if all(good) else 'NOT within 10 %')
    return 0 if all(good) else 1


if __name__ == '__main__':
    sys.exit(main())
