#!/usr/bin/env bash
# Subscribes, publishes and changes subscriptions with nothing but curl, and checks what comes. Exit status 0: all as it should be.
set -euo pipefail

url=${SLUICEGATE_URL:-http://127.0.0.1:4000}
internal=${SLUICEGATE_INTERNAL_URL:-http://127.0.0.1:4010}
type="curl.example.$$"
stream=$(mktemp)
curl_pid=
trap 'kill "$curl_pid" 2>/dev/null || true; rm -f "$stream"' EXIT

# Waits until the stream holds the text $1.
expect() {
  for _ in $(seq 100); do
    if grep -qF -- "$1" "$stream"; then echo "ok - received $1"; return; fi
    sleep 0.1
  done
  echo "not ok - no $1 within 10 s; the stream so far:"; cat "$stream"; exit 1
}
# Runs curl with the arguments after $1 and expects the status $1.
status() {
  local expected=$1 got; shift
  got=$(curl -sS -o /dev/null -w '%{http_code}' "$@")
  [ "$got" = "$expected" ] || { echo "not ok - status $got instead of $expected: curl $*"; exit 1; }
  echo "ok - status $got"
}

echo "# subscribe: -N shows each event as it comes, -G puts the subscriptions into the query"
curl -sSN -G "$url/_rig/v1/connection/sse" --data-urlencode "subscriptions=[{\"eventType\":\"$type\"}]" >"$stream" &
curl_pid=$!
expect 'event: rig.connection.create'
expect 'event: rig.subscriptions_set'

echo "# publish, structured mode: the body is the whole event"
status 202 "$url/_rig/v1/events" -H 'content-type: application/cloudevents+json' \
  -d "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/curl\",\"type\":\"$type\",\"data\":{\"mode\":\"structured\"}}"
expect '"mode":"structured"'

echo "# publish, binary mode: attributes are headers, the body is the data"
status 202 "$url/_rig/v1/events" -H 'content-type: application/json' -H 'ce-specversion: 1.0' -H 'ce-id: 2' \
  -H 'ce-source: /curl' -H "ce-type: $type" -d '{"mode":"binary"}'
expect '"mode":"binary"'

echo "# publish a batch on the internal port"
status 202 "$internal/v3/messages" -H 'content-type: application/cloudevents-batch+json' \
  -d "[{\"specversion\":\"1.0\",\"id\":\"3\",\"source\":\"/curl\",\"type\":\"$type\",\"data\":{\"mode\":\"batch\"}}]"
expect '"mode":"batch"'

echo "# replace the subscriptions of the open stream"
token=$(sed -n 's/.*"connection_token":"\([^"]*\)".*/\1/p' "$stream" | head -n 1)
status 204 -X PUT "$url/_rig/v1/connection/sse/$token/subscriptions" -H 'content-type: application/json' \
  -d "{\"subscriptions\":[{\"eventType\":\"$type.*\"}]}"
expect "\"$type.*\""
status 202 "$url/_rig/v1/events" -H 'content-type: application/cloudevents+json' \
  -d "{\"specversion\":\"1.0\",\"id\":\"4\",\"source\":\"/curl\",\"type\":\"$type.more\",\"data\":{\"after\":\"the change\"}}"
expect '"after":"the change"'

echo "# mistakes are answered with a status and a problem document"
status 400 -G "$url/_rig/v1/connection/sse" --data-urlencode 'subscriptions=[{"eventType":7}]'
status 400 "$url/_rig/v1/events" -H 'content-type: application/cloudevents+json' -d '{"specversion":"1.0"}'
status 405 -X DELETE "$url/_rig/v1/events"
