# Builds Sluicegate with everything that it links (librdkafka, OpenSSL, SQLite) from source, then keeps only the binary.
FROM rust:1.95.0-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY src src
# The benches are named in Cargo.toml; cargo reads their files even when it does not build them.
COPY benches benches
COPY integration integration
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin sluicegate \
    && install -D target/release/sluicegate /out/sluicegate

FROM debian:12.12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/sluicegate --create-home --shell /usr/sbin/nologin sluicegate
COPY --from=build /out/sluicegate /usr/local/bin/sluicegate
USER 10001
WORKDIR /var/lib/sluicegate
# The embedded broker keeps its data here; it runs only when no KAFKA_BROKERS are given.
ENV DATA_DIR=/var/lib/sluicegate/data
VOLUME ["/var/lib/sluicegate"]
# 4001 and 4011 speak TLS, where there is a certificate.
EXPOSE 4000 4001 4010 4011
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["sluicegate", "healthcheck"]
ENTRYPOINT ["sluicegate"]
