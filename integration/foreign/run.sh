#!/usr/bin/env bash
# Checks a Sluicegate binary with clients that other people wrote. Use: run.sh BINARY
# Starts it with its embedded broker on free ports of loopback and a data folder of its own, and stops it again.
# A check that cannot run here is printed as "skipped"; FOREIGN_REQUIRE_ALL=1 makes that a failure.
set -euo pipefail

binary=$(realpath "${1:?usage: run.sh BINARY}")
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
work=$(mktemp -d)
pid=
stop() {
  if [ -n "$pid" ] && kill "$pid" 2>/dev/null; then wait "$pid" || true; fi
  rm -rf "$work"
}
trap stop EXIT

command -v node >/dev/null || { echo "skipped: no node"; exit "${FOREIGN_REQUIRE_ALL:-0}"; }
for folder in . "$root/examples/node" "$root/examples/demo"; do
  npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
done

chromium=${CHROMIUM:-/usr/bin/chromium}
if [ ! -x "$chromium" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
    >"$work/apt.log" 2>&1 || tail -n 5 "$work/apt.log"
fi

read -r public internal kafka < <(node -e '
  const { createServer } = require("node:net");
  const servers = [0, 0, 0].map(() => createServer().listen(0, "127.0.0.1"));
  Promise.all(servers.map((server) => new Promise((done) => server.once("listening", done)))).then(() => {
    console.log(servers.map((server) => server.address().port).join(" "));
    servers.forEach((server) => server.close());
  });')

export SLUICEGATE_URL="http://127.0.0.1:$public"
export SLUICEGATE_INTERNAL_URL="http://127.0.0.1:$internal"
export KAFKA_BROKER="127.0.0.1:$kafka"
export CHROMIUM="$chromium"

echo "starting $binary on ports $public, $internal and $kafka"
(cd "$work" && exec env -u KAFKA_BROKERS INBOUND_PORT="$public" API_HTTP_PORT="$internal" EMBEDDED_KAFKA_PORT="$kafka" \
  DATA_DIR="$work/data" EXTRACTORS="$root/examples/demo/extractors.json" "$binary") >"$work/log" 2>&1 &
pid=$!
for _ in $(seq 300); do
  if curl -fsS -m 2 -o /dev/null "$SLUICEGATE_INTERNAL_URL/health" 2>/dev/null; then ready=yes; break; fi
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.2
done
if [ -z "${ready:-}" ]; then
  echo "not ok - it did not become healthy within a minute; its log:"
  tail -n 50 "$work/log"
  exit 1
fi

# Runs an example, and shows what it printed only if it fails.
example() {
  local name=$1; shift
  if "$@" >"$work/example" 2>&1; then
    echo "ok - examples: $name"
  else
    echo "not ok - examples: $name"; cat "$work/example"; failed=1
  fi
}
# Runs a subscriber of examples/node together with publishers, until the subscriber has enough.
subscriber() {
  local type="example.$1" pair_failed=0
  node "$root/examples/node/$1.mjs" "$type" 2 & local subscriber_pid=$!
  for _ in $(seq 60); do
    kill -0 "$subscriber_pid" 2>/dev/null || break
    node "$root/examples/node/publish.mjs" "$type" 1 || pair_failed=1
    sleep 0.5
  done
  wait "$subscriber_pid" && [ "$pair_failed" = 0 ]
}

failed=0
for script in eventsource ws longpoll kafka; do node "$script.mjs" || failed=1; done
for script in chromium demo; do
  if [ -x "$chromium" ]; then
    node "$script.mjs" || failed=1
  else
    echo "skipped: $script (no $chromium)"
    [ "${FOREIGN_REQUIRE_ALL:-0}" = 0 ] || failed=1
  fi
done

example curl.sh "$root/examples/curl.sh"
for name in subscribe-sse subscribe-ws longpoll; do example "$name.mjs with publish.mjs" subscriber "$name"; done
example "publish.mjs to the internal port" env INTERNAL=1 node "$root/examples/node/publish.mjs"
example produce-to-kafka.mjs env KAFKA_BROKERS="$KAFKA_BROKER" node "$root/examples/node/produce-to-kafka.mjs"

if [ "$failed" != 0 ]; then
  echo "the last lines of its log:"
  tail -n 50 "$work/log"
fi
exit "$failed"
