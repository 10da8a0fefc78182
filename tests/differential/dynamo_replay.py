#!/usr/bin/env python3
"""Compares `dyn simulate` with Dynamo's offline replay on equal scenarios and equal step times.

  python tests/differential/dynamo_replay.py build/dev/bin/dyn [--only TEXT] [--traces FOLDER]

Needs a Python with ai-dynamo-runtime==1.6.1 (from PyPI, alone); skips with exit code 77 without it.
Prints the relative difference of mean TTFT, TPOT, E2E and duration, and both hit rates at first
admission; exit code 1 where one is beyond 2 % (5 % and a point of hit rate behind a KV-router).
Behind a KV-router ties are broken at random, by the peer without a seed: there means of several
runs are compared (--runs), the spread of whose TTFT is printed too.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile

os.environ.setdefault("DYN_LOG", "error")
try:
    import dynamo._core as core
except ImportError:
    print("skipped: no ai-dynamo-runtime here")
    sys.exit(77)


def engine(role="aggregated", backend="vllm", dp_size=1, **settings):
    values = dict(backend=backend, worker_type=role, block_size=64, num_gpu_blocks=16384,
                  max_num_seqs=256, max_num_batched_tokens=8192)
    values.update(settings)
    return dict(engine=values, **({"dp_size": dp_size} if dp_size > 1 else {}))


def sglang(role="aggregated", **settings):
    return engine(role, "sglang", **{"block_size": 1, "num_gpu_blocks": 1048576, **settings})


def closed(isl, osl, count, slots, **more):
    return dict(input_tokens=isl, output_tokens=osl, request_count=count,
                replay_concurrency=slots, **more)


def poisson_trace(count, rate, isl, osl, seed):
    """Requests of exponential length that share nothing."""
    draw = random.Random(seed)
    rows, now = [], 0.0
    for i in range(count):
        now += draw.expovariate(rate) * 1000
        length = 1 + int(draw.expovariate(1 / isl))
        blocks = (length + 511) // 512
        rows.append(dict(timestamp=round(now), input_length=length,
                         output_length=2 + int(draw.expovariate(1 / osl)),
                         hash_ids=[i * 1000 + j for j in range(blocks)]))
    return rows


def sessions(count, turns, gap_ms, delay_ms, isl, osl):
    """Sessions whose prompts grow by isl a turn."""
    rows = []
    for turn in range(turns):
        for s in range(count):
            blocks = [s * 1000 + j for j in range((turn + 1) * isl // 512)]
            row = dict(session_id=f"s{s}", input_length=(turn + 1) * isl, output_length=osl,
                       hash_ids=blocks)
            row.update(dict(timestamp=s * gap_ms) if turn == 0 else dict(delay=delay_ms))
            rows.append(row)
    return sorted(rows, key=lambda row: (int(row["session_id"][1:]), row["input_length"]))


def prefix_groups(count, rate, isl, osl, groups, shared, seed):
    """Requests of equal length that begin with one of several prefixes."""
    draw = random.Random(seed)
    rows, now = [], 0.0
    for i in range(count):
        now += draw.expovariate(rate) * 1000
        first = draw.randrange(groups) * 1000
        own = (isl + 511) // 512 - shared // 512
        rows.append(dict(timestamp=round(now), input_length=isl, output_length=osl,
                         hash_ids=[first + j for j in range(shared // 512)] +
                         [1_000_000 + i * 100 + j for j in range(own)]))
    return rows


def turns(count, number, gap_ms, delay_ms, groups):
    """Sessions of prompts of 1024 tokens, half of which is their group's."""
    rows = []
    for s in range(count):
        for turn in range(number):
            row = dict(session_id=f"s{s}", input_length=1024, output_length=128,
                       hash_ids=[s % groups, 1000 + number * s + turn])
            row.update(dict(timestamp=s * gap_ms) if turn == 0 else dict(delay=delay_ms))
            rows.append(row)
    return rows


def scenarios():
    """Name, arguments of the peer, rows of a trace or None."""
    yield "closed64", closed(1024, 128, 2000, 64, extra_engine_args=engine()), None
    yield "closed64_smallkv", closed(1024, 512, 1000, 64, extra_engine_args=engine(
        num_gpu_blocks=600)), None
    yield "closed64_sglang", closed(1024, 128, 2000, 64, extra_engine_args=sglang()), None
    yield "closed64_trtllm", closed(1024, 128, 2000, 64, extra_engine_args=engine(
        backend="trtllm", block_size=32, num_gpu_blocks=32768)), None
    yield "smallkv_trtllm", closed(1024, 512, 1000, 64, extra_engine_args=engine(
        backend="trtllm", block_size=32, num_gpu_blocks=1200)), None
    for blocks in (38400, 60000):
        yield f"sglang_{blocks}", closed(1024, 512, 600, 64, extra_engine_args=sglang(
            num_gpu_blocks=blocks)), None
    yield "sglang_pages", closed(1024, 512, 600, 64, extra_engine_args=sglang(
        block_size=16, num_gpu_blocks=2400)), None
    yield "sglang_long_outputs", closed(512, 6000, 100, 32, extra_engine_args=sglang(
        num_gpu_blocks=80000)), None
    yield "budget_2048", closed(3000, 200, 400, 32, extra_engine_args=engine(
        max_num_batched_tokens=2048)), None
    yield "seqs_16", closed(1000, 200, 400, 32, extra_engine_args=engine(max_num_seqs=16)), None
    yield "no_prefix_caching", closed(1000, 300, 400, 32, extra_engine_args=engine(
        enable_prefix_caching=False, num_gpu_blocks=400)), None
    yield "smallkv_3000", closed(3000, 700, 400, 32, extra_engine_args=engine(
        num_gpu_blocks=1200)), None
    yield "workers_4", closed(1024, 128, 1000, 128, num_workers=4,
                              extra_engine_args=engine()), None
    yield "dp_4", closed(1024, 128, 1000, 128, extra_engine_args=engine(dp_size=4)), None
    both = dict(prefill_engine_args=engine("prefill"), decode_engine_args=engine("decode"))
    yield "disagg_1p2d", closed(2048, 256, 2000, 64, num_prefill_workers=1,
                                num_decode_workers=2, **both), None
    yield "disagg_2p2d", closed(3000, 300, 400, 64, num_prefill_workers=2,
                                num_decode_workers=2, **both), None
    yield "disagg_sglang", closed(
        3000, 300, 400, 64, num_prefill_workers=1, num_decode_workers=2,
        prefill_engine_args=sglang("prefill"), decode_engine_args=sglang("decode")), None
    for name, args in (("vllm", engine()), ("vllm_tight", engine(num_gpu_blocks=500)),
                       ("sglang", sglang()), ("sglang_tight", sglang(num_gpu_blocks=32000))):
        yield f"poisson_{name}", dict(extra_engine_args=args), poisson_trace(600, 6, 1500, 150, 3)
    yield "poisson_dp4", dict(extra_engine_args=engine(dp_size=4)), poisson_trace(
        600, 12, 2000, 150, 4)
    yield "sessions", dict(extra_engine_args=engine()), sessions(200, 4, 60, 500, 1024, 128)
    yield "sessions_kv_router", dict(extra_engine_args=engine(), num_workers=4,
                                     router_mode="kv_router"), sessions(300, 4, 30, 500, 1024, 128)
    routed = dict(num_workers=4, router_mode="kv_router")
    yield "turns_kv_router", dict(extra_engine_args=engine(), **routed), turns(500, 4, 40, 500, 8)
    groups = prefix_groups(600, 8, 4096, 128, 40, 3584, 1)
    for name, args in (("", engine()), ("_tight", engine(num_gpu_blocks=1500)),
                       ("_sglang", sglang())):
        yield f"groups{name}_kv_router", dict(extra_engine_args=args, **routed), groups
    yield "groups_dp4_kv_router", dict(extra_engine_args=engine(dp_size=4), num_workers=2,
                                       router_mode="kv_router"), groups
    yield "groups_2p2d_kv_router", dict(num_prefill_workers=2, num_decode_workers=2,
                                        router_mode="kv_router", **both), groups


def pool(args, replicas, role=None):
    e = args["engine"]
    # SGLang's chunks are of 8192 tokens whatever the peer is told.
    budget = 8192 if e["backend"] == "sglang" else e["max_num_batched_tokens"]
    result = dict(replicas=replicas, layout=dict(data=args.get("dp_size", 1)), engine=dict(
        kind=e["backend"], kv_blocks=e["num_gpu_blocks"], block_size=e["block_size"],
        max_num_seqs=e["max_num_seqs"], max_num_batched_tokens=budget, max_model_len=10_000_000,
        prefix_caching=e.get("enable_prefix_caching", True)))
    return {**result, "role": role} if role else result


def recipe(args, trace, seed):
    if "extra_engine_args" in args:
        pools = [pool(args["extra_engine_args"], args.get("num_workers", 1))]
    else:
        pools = [pool(args["prefill_engine_args"], args["num_prefill_workers"], "prefill"),
                 pool(args["decode_engine_args"], args["num_decode_workers"], "decode")]
    routed = args.get("router_mode") == "kv_router"
    traffic = dict(trace=trace, spread_ticks=False) if trace else dict(
        isl=args["input_tokens"], osl=args["output_tokens"], requests=args["request_count"],
        concurrency=args["replay_concurrency"])
    return dict(schema="dyn.recipe/1", model="Qwen/Qwen3-8B", seed=seed,
                timing=dict(kind="polynomial"),
                engine=dict(block_size=pools[0]["engine"]["block_size"]), traffic=traffic,
                router=dict(kind="kv_aware" if routed else "round_robin",
                            max_queued_per_worker=1_000_000),
                deployment=dict(pools=pools))


def theirs(args, trace):
    """Mean TTFT, TPOT, E2E (ms), duration (s) and hit rate of one run."""
    if trace:
        summary = core.run_mocker_trace_replay(trace_files=[trace], trace_block_size=512,
                                               **args).summary
    else:
        summary = core.run_mocker_synthetic_trace_replay(**args).summary
    return (summary["mean_ttft_ms"], summary["mean_tpot_ms"], summary["mean_e2e_latency_ms"],
            summary["duration_ms"] / 1e3, summary["first_admission_prefix_cache_reused_ratio"])


def ours(dyn, folder, args, trace, seed):
    path = os.path.join(folder, "recipe.json")
    with open(path, "w") as file:
        json.dump(recipe(args, trace, seed), file)
    run = subprocess.run([dyn, "simulate", path, "-o", folder], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    with open(os.path.join(folder, "profile_export_aiperf.json")) as file:
        report = json.load(file)
    return tuple(report[tag]["avg"] if tag in report else 0.0
                 for tag in ("time_to_first_token", "inter_token_latency", "request_latency",
                             "benchmark_duration", "prefix_cache_hit_rate"))


def compare(name, routed, peer, mine):
    """Compares the means over runs."""
    allowed = 0.05 if routed else 0.02
    a, b = ([statistics.mean(values) for values in zip(*runs)] for runs in (peer, mine))
    apart = [y / x - 1 if x else 0.0 for x, y in zip(a[:4], b[:4])]
    good = all(abs(value) <= allowed for value in apart) and (
        not routed or abs(a[4] - b[4]) <= 0.01)
    spread = "".join(f" +-{100 * statistics.stdev(run[0] for run in runs) / x:.1f}%"
                     for runs, x in ((peer, a[0]), (mine, b[0])) if len(runs) > 1)
    print(f"{name:24s}", *[f"{what} {100 * value:+6.2f}%" for what, value in
                           zip(("ttft", "tpot", "e2e", "duration"), apart)],
          f"hits {a[4]:.4f} {b[4]:.4f}{spread}", "" if good else "  <-- apart", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dyn")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--traces", help="folder with Mooncake's traces, to replay them too")
    parser.add_argument("--runs", type=int, default=8, help="runs of each side behind a router")
    options = parser.parse_args()
    cases = [(n, a, rows, None) for n, a, rows in scenarios()]
    for trace, workers, mode in (("conversation", 1, "round_robin"),
                                 ("conversation", 8, "kv_router"),
                                 ("synthetic", 8, "round_robin")) if options.traces else ():
        args = dict(extra_engine_args=engine(), num_workers=workers, router_mode=mode)
        path = os.path.abspath(os.path.join(options.traces, trace + "_trace.jsonl"))
        cases.append((f"{trace}_{workers}_{mode}", args, None, path))
    good = True
    for name, args, rows, trace in cases:
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            if rows:
                trace = os.path.join(folder, "trace.jsonl")
                with open(trace, "w") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
            routed = args.get("router_mode") == "kv_router"
            seeds = range(1, options.runs + 1) if routed else (1,)
            good &= compare(name, routed, [theirs(args, trace) for _ in seeds],
                            [ours(options.dyn, folder, args, trace, seed) for seed in seeds])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
