#!/usr/bin/env bash
# Sends commands through the request proxy: to Kafka and back, to an HTTP backend, and to whoever subscribes; with curl, and
# a worker in Node that answers over Kafka. Exit status 0: all as it should be. Wants an instance that was started with
#   PROXY_CONFIG_FILE=examples/routes.json
set -euo pipefail
cd "$(dirname "$0")"

url=${SLUICEGATE_URL:-http://127.0.0.1:4000}
work=$(mktemp -d)
pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT

# Waits until the file $1 holds the text $2.
expect() {
  for _ in $(seq 300); do
    if grep -qF -- "$2" "$work/$1"; then echo "ok - $1: $2"; return; fi
    sleep 0.1
  done
  echo "not ok - $1: no $2 within 30 s; so far:"; cat "$work/$1"; exit 1
}
# Runs curl with the arguments after $2, expects the status $1, and leaves head and body in the file $2.
answer() {
  local expected=$1 name=$2 got; shift 2
  got=$(curl -sS -D "$work/$name.head" -o "$work/$name" -w '%{http_code}' "$@")
  [ "$got" = "$expected" ] || { echo "not ok - $name: status $got instead of $expected"; cat "$work/$name"; exit 1; }
  echo "ok - $name: status $got"
}

echo "# a request becomes an HTTP request to a backend, with another path"
answer 200 health "$url/shop/livez"
answer 404 unknown "$url/shop/metrics"
answer 400 detour --path-as-is "$url/shop/..%2flivez"

echo "# a request becomes an event for those who subscribe to it; any body will do"
curl -sSN -G "$url/_rig/v1/connection/sse" --data-urlencode 'subscriptions=[{"eventType":"*"}]' >"$work/stream" &
pids="$pids $!"
expect stream 'event: rig.subscriptions_set'
answer 202 cart "$url/carts/7" -H 'content-type: application/json' -d '{"add":"apples"}'
expect stream '"add":"apples"'

if ! command -v node >/dev/null; then echo "skipped: a worker that answers (no node)"; exit 0; fi
[ -d node/node_modules ] || npm ci --prefix node --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
echo "# a worker reads commands from Kafka and answers them there; the request waits for its answer"
node node/worker.mjs orders >"$work/worker" 2>&1 &
pids="$pids $!"
expect worker 'answering commands'
order=(-H 'content-type: application/json' -d '{"item":"apples"}')
for _ in $(seq 30); do
  # The worker's consumer group may take some seconds to form.
  status=$(curl -sS -o "$work/first" -w '%{http_code}' "$url/orders" "${order[@]}")
  [ "$status" = 504 ] || break
done
answer 201 order "$url/orders" "${order[@]}"
expect order '"accepted":true'

echo "# somebody who does not want to wait asks later"
answer 202 later "$url/orders" "${order[@]}" -H 'prefer: respond-async'
location=$(sed -n 's/^location: //Ip' "$work/later.head" | tr -d '\r')
answer 201 asked "$url$location" -H 'prefer: wait=10'
expect asked '"accepted":true'

echo "# a command that is repeated is done once"
key="example-$$-$(date +%s)"
answer 201 once "$url/orders" "${order[@]}" -H "idempotency-key: $key"
answer 201 again "$url/orders" "${order[@]}" -H "idempotency-key: $key"
answer 422 another "$url/orders" -H 'content-type: application/json' -d '{"item":"pears"}' -H "idempotency-key: $key"
