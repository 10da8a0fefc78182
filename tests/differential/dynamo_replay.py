#!/usr/bin/env python3
"""Compares `dyn simulate` with Dynamo's offline replay on equal scenarios and equal step times.

  python tests/differential/dynamo_replay.py build/dev/bin/dyn [--only TEXT] [--traces FOLDER]

Needs a Python with ai-dynamo-runtime==1.6.1 (from PyPI, alone); skips with exit code 77 without it.
Prints the relative difference of mean TTFT, TPOT, E2E and duration, and both hit rates at first
admission; exit code 1 where one is beyond 2 % (5 % and a point of hit rate behind a KV-router).
"""
import argparse
import json
import os
import random
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


def pool(args, replicas, role=None):
    e = args["engine"]
    # SGLang's chunks are of 8192 tokens whatever the peer is told.
    budget = 8192 if e["backend"] == "sglang" else e["max_num_batched_tokens"]
    result = dict(replicas=replicas, layout=dict(data=args.get("dp_size", 1)), engine=dict(
        kind=e["backend"], kv_blocks=e["num_gpu_blocks"], block_size=e["block_size"],
        max_num_seqs=e["max_num_seqs"], max_num_batched_tokens=budget, max_model_len=10_000_000,
        prefix_caching=e.get("enable_prefix_caching", True)))
    return {**result, "role": role} if role else result


def recipe(args, trace):
    if "extra_engine_args" in args:
        pools = [pool(args["extra_engine_args"], args.get("num_workers", 1))]
    else:
        pools = [pool(args["prefill_engine_args"], args["num_prefill_workers"], "prefill"),
                 pool(args["decode_engine_args"], args["num_decode_workers"], "decode")]
    routed = args.get("router_mode") == "kv_router"
    traffic = dict(trace=trace, spread_ticks=False) if trace else dict(
        isl=args["input_tokens"], osl=args["output_tokens"], requests=args["request_count"],
        concurrency=args["replay_concurrency"])
    return dict(schema="dyn.recipe/1", model="Qwen/Qwen3-8B", timing=dict(kind="polynomial"),
                engine=dict(block_size=pools[0]["engine"]["block_size"]), traffic=traffic,
                router=dict(kind="kv_aware" if routed else "round_robin",
                            max_queued_per_worker=1_000_000),
                deployment=dict(pools=pools))


def theirs(args, trace):
    if trace:
        return core.run_mocker_trace_replay(trace_files=[trace], trace_block_size=512,
                                            **args).summary
    return core.run_mocker_synthetic_trace_replay(**args).summary


def ours(dyn, folder, args, trace):
    path = os.path.join(folder, "recipe.json")
    with open(path, "w") as file:
        json.dump(recipe(args, trace), file)
    subprocess.run([dyn, "simulate", path, "-o", folder], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(folder, "profile_export_aiperf.json")) as file:
        return json.load(file)


def compare(name, args, peer, report):
    def mean(tag):
        return report[tag]["avg"] if tag in report else 0.0
    routed = args.get("router_mode") == "kv_router"
    allowed = 0.05 if routed else 0.02
    pairs = [("ttft", peer["mean_ttft_ms"], mean("time_to_first_token")),
             ("tpot", peer["mean_tpot_ms"], mean("inter_token_latency")),
             ("e2e", peer["mean_e2e_latency_ms"], mean("request_latency")),
             ("duration", peer["duration_ms"] / 1e3, mean("benchmark_duration"))]
    apart = [(what, b / a - 1 if a else 0.0) for what, a, b in pairs]
    hits = (peer["first_admission_prefix_cache_reused_ratio"], mean("prefix_cache_hit_rate"))
    good = all(abs(value) <= allowed for _, value in apart) and (
        not routed or abs(hits[0] - hits[1]) <= 0.01)
    print(f"{name:24s}", *[f"{what} {100 * value:+6.2f}%" for what, value in apart],
          f"hits {hits[0]:.4f} {hits[1]:.4f}", "" if good else "  <-- apart", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dyn")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--traces", help="folder with Mooncake's traces, to replay them too")
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
            good &= compare(name, args, theirs(args, trace), ours(options.dyn, folder, args, trace))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
