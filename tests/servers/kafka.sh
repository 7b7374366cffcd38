# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # Its settings are read by name, and `home` and `root` are of tests/services.
# Apache Kafka, one node that is broker and controller. No package brings it: Maven does, into target/.

kafka_processes='java'
kafka_packages=''
kafka_ports='kafka kafka_tls kafka_controller'
kafka_stop=TERM
kafka_ready='Kafka Server started'

kafka_pom="$root/tests/servers/kafka.pom.xml"
kafka_version="$(sed -n '/kafka_2/{n;s/ *<version>\(.*\)<.*/\1/p;}' "$kafka_pom")"
kafka_jars="$root/target/kafka-$kafka_version"

kafka_url() { printf 'kafka://127.0.0.1:%s' "$(port kafka)"; }
# This listener takes PLAIN too.
kafka_tls_url() {
    printf 'kafka://%s:%s@127.0.0.1:%s?tls=true&sasl=scram-sha-512' "$WHO" "$WHO" "$(port kafka_tls)"
}

kafka_missing() {
    kafka_packages=''
    if ! kafka_java; then
        kafka_packages+=' default-jre-headless'
        echo 'java of version 17 or newer'
    fi
    if [ ! -d "$kafka_jars" ] && ! command -v mvn >/dev/null; then
        kafka_packages+=' maven'
        echo mvn
    fi
}

kafka_java() {
    local version
    version="$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')"
    [ "${version:-0}" -ge 17 ]
}

# With a repository of its own, since two Mavens at work in one may spoil it.
kafka_fetch() {
    local new="$kafka_jars.$$" old
    [ ! -d "$kafka_jars" ] || return 0
    say "downloading Kafka $kafka_version"
    # What was interrupted.
    for old in "$kafka_jars".*; do
        kill -0 "${old##*.}" 2>/dev/null || rm -rf "$old"
    done
    mkdir -p "$new"
    if ! mvn --batch-mode --quiet --strict-checksums --file "$kafka_pom" -Dmaven.repo.local="$new/repository" \
        dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new/jars" \
        </dev/null >"$new/log" 2>&1; then
        cat "$new/log" >&2
        rm -rf "$new"
        say "could not download Kafka: see above; \`mvn -f ${kafka_pom#"$root/"} dependency:resolve\` must succeed" \
            "(mirrors and proxies stand in ~/.m2/settings.xml), or set $(variable kafka) to a server that runs"
        return 1
    fi
    # Somebody else may have come first.
    [ -d "$kafka_jars" ] || mv "$new/jars" "$kafka_jars"
    rm -rf "$new"
}

kafka_make() {
    local dir="$home/kafka" cluster
    mkdir "$dir/data"
    cat "$home/tls/server.key" "$home/tls/server.pem" >"$dir/server.pem"
    { kafka_settings "$dir" && more_settings kafka; } >"$dir/server.properties"
    cluster="$(openssl rand -base64 16 | tr '+/' 'ab' | cut -c 1-22)"
    java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$kafka_jars/*" kafka.tools.StorageTool format \
        --cluster-id "$cluster" --config "$dir/server.properties" --add-scram "SCRAM-SHA-512=[name=$WHO,password=$WHO]"
}

# Like a new one of more nodes, but for what needs several; fewer partitions of its own and less memory for cleaning.
kafka_settings() {
    local security=org.apache.kafka.common.security
    cat <<SETTINGS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$(port kafka_controller)
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$(port kafka),SASL_SSL://127.0.0.1:$(port kafka_tls),CONTROLLER://127.0.0.1:$(port kafka_controller)
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$1/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=4194304
ssl.keystore.type=PEM
ssl.keystore.location=$1/server.pem
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=$security.plain.PlainLoginModule required user_$WHO="$WHO";
SETTINGS
}

kafka_run() {
    spawn "$home/kafka/pid" java -Xms128m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExplicitGCInvokesConcurrent \
        -Djava.awt.headless=true -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
        -cp "$kafka_jars/*" kafka.Kafka "$home/kafka/server.properties"
}
