#!/usr/bin/env bash
# Checks a Sluicegate binary with clients that other people wrote. Use: run.sh BINARY [kafka]
# Starts it on free ports of loopback and stops it again: with its embedded broker and a data folder of its own, or, with
# `kafka`, with an Apache Kafka that is started too, and the settings that docker-compose.yml has for it.
# A check that cannot run here is printed as "skipped"; FOREIGN_REQUIRE_ALL=1 makes that a failure.
set -euo pipefail

binary=$(realpath "${1:?usage: run.sh BINARY}")
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
with=${2:-embedded}
work=$(mktemp -d)
pid= kafka_pid= tokens_pid=
stop() {
  if [ -n "$tokens_pid" ] && kill "$tokens_pid" 2>/dev/null; then wait "$tokens_pid" || true; fi
  if [ -n "$pid" ] && kill "$pid" 2>/dev/null; then wait "$pid" || true; fi
  # Kafka ends when its standard input is closed.
  if [ -n "$kafka_pid" ]; then exec 9>&-; wait "$kafka_pid" 2>/dev/null || true; fi
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

if [ "$with" = kafka ] && ! { command -v java && command -v mvn; } >/dev/null; then
  echo "skipped: the clients with Apache Kafka (no Java or no Maven)"
  exit "${FOREIGN_REQUIRE_ALL:-0}"
fi

read -r public internal kafka controller tls internal_tls tokens tokens_internal page < <(node -e '
  const { createServer } = require("node:net");
  const servers = Array(9).fill(0).map(() => createServer().listen(0, "127.0.0.1"));
  Promise.all(servers.map((server) => new Promise((done) => server.once("listening", done)))).then(() => {
    console.log(servers.map((server) => server.address().port).join(" "));
    servers.forEach((server) => server.close());
  });')

export SLUICEGATE_URL="http://127.0.0.1:$public"
export SLUICEGATE_INTERNAL_URL="http://127.0.0.1:$internal"
export SLUICEGATE_TLS_URL="https://localhost:$tls"
export SLUICEGATE_CA="$work/cert.pem"
export KAFKA_BROKER="127.0.0.1:$kafka"
export CHROMIUM="$chromium"
export SLUICEGATE_TOKENS_URL="http://127.0.0.1:$tokens" SLUICEGATE_TOKENS_PAGE="$page" SLUICEGATE_TOKENS_COOKIE=token
SLUICEGATE_TOKENS_SECRET=$(openssl rand -hex 32)
export SLUICEGATE_TOKENS_SECRET

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/openssl.log" \
  || { cat "$work/openssl.log"; exit 1; }

settings=(INBOUND_PORT="$public" API_HTTP_PORT="$internal" INBOUND_HTTPS_PORT="$tls" API_HTTPS_PORT="$internal_tls")
certificate=(HTTPS_CERTFILE="$work/cert.pem" HTTPS_KEYFILE="$work/key.pem")
if [ "$with" = kafka ]; then
  mkfifo "$work/hold"
  "$root/integration/kafka/start.sh" "$work/kafka" "${CARGO_TARGET_DIR:-$root/target}/tmp/kafka-libs" "$kafka" "$controller" \
    <"$work/hold" >"$work/kafka.log" 2>&1 &
  kafka_pid=$!
  exec 9>"$work/hold"
  compose=$("${PYTHON:-python3}" "$root/.ci/validate-compose" --environment sluicegate)
  readarray -t -O "${#settings[@]}" settings <<<"$compose"
  settings+=(KAFKA_BROKERS="$KAFKA_BROKER" API_BIND_ADDRESS=127.0.0.1)
else
  settings+=(EMBEDDED_KAFKA_PORT="$kafka" DATA_DIR="$work/data" EXTRACTORS="$root/examples/demo/extractors.json")
fi

# Waits until the process $1 is ready at $2; else shows its log $3.
await_ready() {
  for _ in $(seq 600); do
    if curl -fsS -m 2 -o /dev/null "$2/readyz" 2>/dev/null; then return; fi
    kill -0 "$1" 2>/dev/null || break
    sleep 0.2
  done
  echo "not ok - it did not become ready within two minutes; its log:"
  tail -n 50 "$3"
  [ "$with" != kafka ] || { echo "Kafka's log:"; tail -n 20 "$work/kafka.log"; }
  exit 1
}

echo "starting $binary on ports $public and $internal, with Kafka ($with) on port $kafka"
(cd "$work" && exec env -u KAFKA_BROKERS "${settings[@]}" "${certificate[@]}" "$binary") >"$work/log" 2>&1 9>&- &
pid=$!
await_ready "$pid" "$SLUICEGATE_INTERNAL_URL" "$work/log"

# Starts another instance on the same Kafka, which wants tokens and knows the origin of its pages.
start_with_tokens() {
  local with_tokens=(INBOUND_PORT="$tokens" API_HTTP_PORT="$tokens_internal" CLUSTER_NAME=tokens KAFKA_BROKERS="$KAFKA_BROKER")
  with_tokens+=(JWT_SECRET_KEY="$SLUICEGATE_TOKENS_SECRET" JWT_COOKIE="$SLUICEGATE_TOKENS_COOKIE")
  with_tokens+=(SUBSCRIPTION_CHECK=jwt_validation CORS="http://127.0.0.1:$page")
  (cd "$work" && exec env "${settings[@]}" "${with_tokens[@]}" "$binary") >"$work/tokens-log" 2>&1 9>&- &
  tokens_pid=$!
  await_ready "$tokens_pid" "http://127.0.0.1:$tokens_internal" "$work/tokens-log"
}

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

# Asks curl for HTTP/1.1 and HTTP/2, over TLS and without.
ask_curl() {
  local version=$1 answer; shift
  answer=$(curl -sS -m 20 --cacert "$SLUICEGATE_CA" -w ' %{http_version} %{http_code}' "$@")
  if [ "$answer" = "OK $version 200" ]; then
    echo "ok - curl: HTTP/$version at ${*: -1}"
  else
    echo "not ok - curl: HTTP/$version at ${*: -1}: $answer"; failed=1
  fi
}

failed=0
ask_curl 1.1 --http1.1 "$SLUICEGATE_TLS_URL/_rig/health"
if curl --version | grep -qw HTTP2; then
  ask_curl 2 --http2 "$SLUICEGATE_TLS_URL/_rig/health"
  ask_curl 2 --http2-prior-knowledge "$SLUICEGATE_URL/_rig/health"
fi
for script in eventsource ws longpoll kafka tls proxy; do node "$script.mjs" || failed=1; done
[ ! -x "$chromium" ] || start_with_tokens
for script in chromium chromium-tls chromium-tokens demo; do
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
