#!/usr/bin/env python3
"""The OpenAI client from PyPI against `dyn serve`: streams, whole answers, errors, usage, leaving.

usage: openai_client.py BUILD_DIR
"""

import json
import os
import pathlib
import signal
import sys
import unittest
import urllib.request

import harness

BUILD = pathlib.Path(os.environ.get('DYN_BUILD') or sys.argv.pop(1)).resolve()
DYN = str(BUILD / 'bin/dyn')
MODEL = harness.MODEL

if 'DYN_BUILD' not in os.environ:
    # Once more, in an environment that has the client.
    binaries = harness.virtual_environment(BUILD, 'openai', ['openai'])
    os.environ['DYN_BUILD'] = str(BUILD)
    os.execv(str(binaries / 'python'), [str(binaries / 'python'), *sys.argv])

import openai  # noqa: E402


class OpenAiClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = harness.scratch()
        folder = cls.scratch.__enter__()
        cls.log = folder / 'served.jsonl'
        cls.plan = harness.make_plan(DYN, folder)
        cls.server = harness.Served(DYN, cls.plan, '--log-requests', str(cls.log))
        cls.client = openai.OpenAI(base_url=cls.server.url + '/v1', api_key='none', max_retries=0)

    @classmethod
    def tearDownClass(cls):
        try:
            code = cls.server.stop()
            lines = [json.loads(line) for line in cls.log.read_text().splitlines()]
        finally:
            cls.scratch.__exit__(None, None, None)
        assert code == 0, f'exit code {code} after SIGTERM'
        assert lines and all(line['input_length'] > 0 and line['hash_ids'] for line in lines)
        stamps = [line['timestamp'] for line in lines]
        assert stamps == sorted(stamps)

    def chat(self, **more):
        return self.client.chat.completions.create(
            model=MODEL, messages=[{'role': 'user', 'content': 'Say something. ' * 20}], **more)

    def metric(self, name):
        with urllib.request.urlopen(self.server.url + '/metrics') as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + '{') or line.startswith(name + ' '):
                    return float(line.rsplit(' ', 1)[1])
        return None

    def test_a_chat_is_answered_whole(self):
        answer = self.chat(max_tokens=20)
        self.assertEqual(answer.model, MODEL)
        self.assertEqual(answer.choices[0].finish_reason, 'length')
        self.assertEqual(answer.choices[0].message.role, 'assistant')
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(answer.usage.completion_tokens, 20)
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + 20)

    def test_a_chat_streams_the_same_text(self):
        whole = self.chat(max_tokens=20).choices[0].message.content
        text, reasons, usage = '', [], None
        for chunk in self.chat(max_tokens=20, stream=True, stream_options={'include_usage': True}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ''
                reasons += [choice.finish_reason] if choice.finish_reason else []
        self.assertEqual(text, whole)
        self.assertEqual(reasons, ['length'])
        self.assertEqual(usage.completion_tokens, 20)
        self.assertGreater(usage.prompt_tokens_details.cached_tokens, 0)

    def test_completions_stream_and_come_whole(self):
        prompt = {'model': MODEL, 'prompt': 'Once upon a time', 'max_tokens': 15}
        whole = self.client.completions.create(**prompt)
        stream = self.client.completions.create(**prompt, stream=True)
        self.assertEqual(''.join(c.choices[0].text for c in stream), whole.choices[0].text)

    def test_a_stop_string_ends_the_answer(self):
        answer = self.chat(max_tokens=200, stop=['.', 'never'])
        self.assertEqual(answer.choices[0].finish_reason, 'stop')
        self.assertNotIn('.', answer.choices[0].message.content)
        self.assertLess(answer.usage.completion_tokens, 200)

    def test_errors_are_those_that_the_client_knows(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.chat.completions.create(model='no/such', messages=[
                {'role': 'user', 'content': 'x'}])
        self.assertEqual(caught.exception.code, 'model_not_found')
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(n=2)
        self.assertEqual(caught.exception.param, 'n')
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(max_tokens=100_000_000)
        self.assertEqual(caught.exception.code, 'context_length_exceeded')

    def test_models_are_listed(self):
        self.assertEqual([model.id for model in self.client.models.list()], [MODEL])

    def test_a_client_that_leaves_frees_its_request(self):
        before = self.metric('dyn_client_disconnects_total')
        stream = self.chat(max_tokens=20_000, stream=True)
        for _, _ in zip(range(3), stream):
            pass
        stream.close()
        self.assertTrue(harness.wait_until(
            lambda: self.metric('dyn_client_disconnects_total') == before + 1))
        self.assertTrue(harness.wait_until(
            lambda: self.metric('dyn_worker_requests_running') == 0))

    def test_a_signal_drains_what_is_in_flight(self):
        with harness.served(DYN, self.plan) as server:
            client = openai.OpenAI(base_url=server.url + '/v1', api_key='none', max_retries=0)
            stream = client.completions.create(model=MODEL, prompt='x', max_tokens=100, stream=True)
            chunks = iter(stream)
            next(chunks)
            server.process.send_signal(signal.SIGINT)
            reasons = [chunk.choices[0].finish_reason for chunk in chunks]
            self.assertEqual(reasons[-1], 'length')
            self.assertEqual(server.process.wait(30), 130)


if __name__ == '__main__':
    unittest.main(verbosity=2)
