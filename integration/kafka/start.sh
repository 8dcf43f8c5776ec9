#!/usr/bin/env bash
# Starts a real Apache Kafka (KRaft, one node) on 127.0.0.1:PORT with everything it needs under DIR and the jars in LIBS.
# Use: start.sh DIR LIBS PORT CONTROLLER_PORT [KEY=VALUE ...]     further server properties as KEY=VALUE. Needs Java 17 and Maven.
# KAFKA_CLUSTER_ID makes it one broker of several, which further properties describe; KAFKA_HEAP is the size of its heap.
# Ends, and Kafka with it, when its standard input is closed: so Kafka never outlives the process that started this script.
# Retention is looked at each second: what is written with a timestamp that is too old is gone in every run, not in some.
# The id of the cluster has no hyphen, which could be read as an option. DIR/pid holds the process id of Kafka.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$1; libs=$2; port=$3; controller=$4; shift 4
mkdir -p "$dir" "$libs"; dir=$(cd "$dir" && pwd); libs=$(cd "$libs" && pwd)
[ -e "$libs/.complete" ] || {
  mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$libs" </dev/null; touch "$libs/.complete"; }
cat > "$dir/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data
num.partitions=4
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
CONF
[ $# -eq 0 ] || printf '%s\n' "$@" >> "$dir/server.properties"
[ -e "$dir/data/meta.properties" ] || java -cp "$libs/*" kafka.tools.StorageTool format \
  -t "${KAFKA_CLUSTER_ID:-$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '=')}" -c "$dir/server.properties" >/dev/null </dev/null
java "-Xmx${KAFKA_HEAP:-512m}" -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.Kafka "$dir/server.properties" </dev/null &
kafka=$!
trap 'kill -9 "$kafka" 2>/dev/null || true' EXIT
echo "$kafka" > "$dir/pid"
cat >/dev/null
