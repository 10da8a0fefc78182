#!/usr/bin/env bash
# The main job end to end on this machine: profile, simulate, plan, serve, a chat. Called by ./dev demo.
set -euo pipefail
dyn=$(realpath "$1")
cd "$(dirname "$0")/.."
out=demo-out
rm -rf "$out"
mkdir -p "$out"
server=''
stop_server() {
  if [[ -n $server ]] && kill -0 "$server" 2>/dev/null; then
    kill -TERM "$server"
    wait "$server" || true
  fi
}
trap stop_server EXIT

show() { printf '\n$ %s\n' "$*"; }
run() { # COMMAND... : shows and runs a dyn command
  show dyn "$@"
  "$dyn" "$@"
}

printf '1. What can this machine do?\n'
run profile --gpu cpu -o "$out/cpu.json"

printf '\n2. Which deployment of Qwen3-32B on 8 to 32 H200 serves these conversations best?\n'
run simulate --make-trace "$out/chat.jsonl" --requests 1500 --span 600 --seed 7
cat >"$out/trace.yaml" <<'END'
schema: dyn.recipe/1
model: Qwen/Qwen3-32B
weights: fp8
hardware: { gpu: h200, count: 8-32 }
traffic: { trace: chat.jsonl }
slo: { ttft_p99: 2s, itl_p99: 30ms }
objective: throughput_per_gpu
END
run simulate "$out/trace.yaml" -o "$out/trace"

printf '\n3. And under a synthetic load?\n'
sed 's|traffic:.*|traffic: { isl: 4000, osl: 500, rate: 8/s }|' "$out/trace.yaml" >"$out/synthetic.yaml"
run simulate "$out/synthetic.yaml" -o "$out/synthetic"

printf '\n4. Write the winner down and serve it, with simulated engines.\n'
run plan "$out/trace/result.json" -o "$out/plan.json" --emit compose,kubernetes --emit-dir "$out/deploy"
show dyn serve "$out/plan.json" --port 0
"$dyn" serve "$out/plan.json" --port 0 >"$out/serve.log" 2>"$out/serve.err" &
server=$!
for _ in $(seq 100); do
  grep -q 'http://' "$out/serve.log" 2>/dev/null && break
  kill -0 "$server" 2>/dev/null || { cat "$out/serve.err" >&2; exit 1; }
  sleep 0.1
done
url=$(grep -o 'http://[^ "]*' "$out/serve.log" | head -n 1)
[[ -n $url ]] || { cat "$out/serve.log" "$out/serve.err" >&2; exit 1; }
printf 'listening on %s\n' "$url"

request='{"model":"Qwen/Qwen3-32B","stream":true,"max_tokens":48,"messages":[{"role":"user","content":"How do I size a fleet?"}]}'
show curl -N "$url/v1/chat/completions" -d "'$request'"
printf 'answer: '
curl -sSfN --max-time 60 "$url/v1/chat/completions" -H 'content-type: application/json' \
  -d "$request" |
  python3 -c '
import json, sys
for line in sys.stdin:
    if line.startswith("data: {"):
        for choice in json.loads(line[6:])["choices"]:
            print(choice["delta"].get("content") or "", end="", flush=True)
print()
'
stop_server
server=''
printf '\nEverything stopped. What was made is in %s/.\n' "$out"
