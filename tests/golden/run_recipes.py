#!/usr/bin/env python3
"""Runs every recipe and checks its result: well-formed, complete, and the same on one and two threads.

usage: run_recipes.py DYN [PATTERN]
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def check_candidate(candidate, rank):
    check(candidate['rank'] == rank, 'ranks count from 1')
    check(candidate['plan']['pools'], 'a candidate has a plan')
    check(candidate['failed_requests'] == 0, f'rank {rank}: requests failed')
    for name, figure in candidate['figures'].items():
        values = [figure['low'], figure['value'], figure['high']]
        check(all(math.isfinite(v) for v in values), f'{name} is not finite')
        check(values == sorted(values), f'{name}: low <= value <= high')
        check(figure['provenance'] in ('measured', 'interpolated', 'extrapolated', 'specification'),
              f'{name}: provenance')


def simulate(dyn, recipe, out, threads):
    subprocess.run([dyn, 'simulate', str(recipe), '-o', str(out), '--quiet', '--threads',
                    str(threads)], check=True, stdout=subprocess.DEVNULL, timeout=300)


def run_recipe(dyn, recipe):
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name)
        simulate(dyn, recipe, out / 'two', 2)
        text = (out / 'two/result.json').read_text()
        result = json.loads(text)
        check(result['schema'] == 'dyn.result/1', 'schema')
        check(result['feasible'] > 0 and result['explored'] >= result['feasible'], 'counts')
        check(result['explored'] == result['feasible'] + sum(r['count'] for r in result['rejected']),
              'every topology either can run or says why not')
        ranked = result['ranked']
        check(ranked, 'something is ranked')
        for rank, candidate in enumerate(ranked, 1):
            check_candidate(candidate, rank)
        met = [c['meets_slo'] for c in ranked]
        check(met == sorted(met, reverse=True), 'those that meet the SLOs come first')
        check(met[0], 'a recipe has an answer that meets its SLOs')
        records = (out / 'two/profile_export.jsonl').read_text().splitlines()
        check(len(records) == result['workload']['requests'], 'one record a request')
        return f'{recipe.name}: {result["explored"]} explored, best {ranked[0]["layout"]}'


def check_threads(dyn, recipe):
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name)
        texts = set()
        for run, threads in enumerate((1, 2, 2)):
            simulate(dyn, recipe, out / str(run), threads)
            texts.add((out / str(run) / 'result.json').read_bytes())
        check(len(texts) == 1, 'result.json depends on threads or on the run')


def main():
    dyn = str(pathlib.Path(sys.argv[1]).resolve())
    pattern = sys.argv[2] if len(sys.argv) > 2 else ''
    recipes = sorted(p for p in (ROOT / 'recipes').glob('*.yaml') if pattern in p.name)
    failed = 0
    for recipe in recipes:
        try:
            print(run_recipe(dyn, recipe), flush=True)
        except (AssertionError, subprocess.SubprocessError) as error:
            failed += 1
            print(f'{recipe.name}: {error}', flush=True)
    if recipes and not failed:
        check_threads(dyn, recipes[0])
        print(f'{recipes[0].name}: the same bytes with 1 and 2 threads and again')
    if len(recipes) < (1 if pattern else 5):
        print(f'only {len(recipes)} recipes')
        failed += 1
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
