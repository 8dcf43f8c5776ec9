#!/usr/bin/env bash
# Shows that everybody gets their own events, with nothing but curl and openssl: tokens, tickets, and an operator who ends a
# session. Exit status 0: all as it should be. Wants an instance that was started with
#   JWT_SECRET_KEY=an-example-secret-of-32-bytes-ok
#   EXTRACTORS='{"example.message":{"to":{"event":{"json_pointer":"/data/to"},"jwt":{"json_pointer":"/sub"}}}}'
set -euo pipefail

url=${SLUICEGATE_URL:-http://127.0.0.1:4000}
internal=${SLUICEGATE_INTERNAL_URL:-http://127.0.0.1:4010}
secret=${JWT_SECRET_KEY:-an-example-secret-of-32-bytes-ok}
work=$(mktemp -d)
pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT

# What a login service does: a token of the user $1 with the session $2, good for an hour (RFC 7519, HS256).
token() {
  local head claims
  head=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url)
  claims=$(printf '{"sub":"%s","jti":"%s","exp":%s}' "$1" "$2" "$(($(date +%s) + 3600))" | base64url)
  printf '%s.%s.%s' "$head" "$claims" "$(printf '%s.%s' "$head" "$claims" | openssl dgst -sha256 -hmac "$secret" -binary | base64url)"
}
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
# Waits until the file $1 holds the text $2.
expect() {
  for _ in $(seq 100); do
    if grep -qF -- "$2" "$work/$1"; then echo "ok - $1 received $2"; return; fi
    sleep 0.1
  done
  echo "not ok - $1: no $2 within 10 s; so far:"; cat "$work/$1"; exit 1
}
# Runs curl with the arguments after $1 and expects the status $1.
status() {
  local expected=$1 got; shift
  got=$(curl -sS -o /dev/null -w '%{http_code}' "$@")
  [ "$got" = "$expected" ] || { echo "not ok - status $got instead of $expected"; exit 1; }
  echo "ok - status $got"
}
# Opens a stream for $1, in the background, with the other arguments of curl.
stream() {
  local name=$1; shift
  curl -sSN "$@" >"$work/$name" &
  pids="$pids $!"
  expect "$name" 'event: rig.subscriptions_set'
}

alice=$(token alice "alice-$$") bob=$(token bob "bob-$$")
all='subscriptions=[{"eventType":"example.*"}]'

echo "# alice sends her token in a header; bob gets a ticket for it, as a page with an EventSource does"
stream alice -G "$url/_rig/v1/connection/sse" -H "authorization: Bearer $alice" --data-urlencode "$all"
ticket=$(curl -sS -X POST "$url/_rig/v1/tickets" -H "authorization: Bearer $bob" | sed 's/.*"ticket":"\([^"]*\)".*/\1/')
stream bob -G "$url/_rig/v1/connection/sse" --data-urlencode "$all" --data-urlencode "ticket=$ticket"
status 401 -G "$url/_rig/v1/connection/sse" --data-urlencode "$all" --data-urlencode "ticket=$ticket"

echo "# both asked for all events, and each gets their own"
for to in bob alice; do
  status 202 "$url/_rig/v1/events" -H 'content-type: application/cloudevents+json' \
    -d "{\"specversion\":\"1.0\",\"id\":\"for-$to\",\"source\":\"/example\",\"type\":\"example.message\",\"data\":{\"to\":\"$to\"}}"
done
expect alice '"for-alice"'
expect bob '"for-bob"'
if grep -q '"for-bob"' "$work/alice" || grep -q '"for-alice"' "$work/bob"; then echo "not ok - a foreign event"; exit 1; fi
echo "ok - and nobody else's"

echo "# nobody gets them without a token, or with a forged one"
status 403 -G "$url/_rig/v1/connection/sse" --data-urlencode 'subscriptions=[{"eventType":"example.message"}]'
status 401 -G "$url/_rig/v1/connection/sse" -H "authorization: Bearer ${alice%?}x"

echo "# an operator sees who is connected, and ends alice's session"
curl -sS "$internal/v3/users/alice/sessions" | grep -q "alice-$$" && echo "ok - alice is listed"
status 201 "$internal/v3/session-blacklist" -H 'content-type: application/json' \
  -d "{\"sessionId\":\"alice-$$\",\"validityInSeconds\":3600}"
expect alice 'event: rig.session_killed'
status 401 -G "$url/_rig/v1/connection/sse" -H "authorization: Bearer $alice"
