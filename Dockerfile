# The front end of the manifests that `dyn plan --emit` writes: docker build -t dyn:VERSION .
FROM debian:12 AS build
COPY . /src
RUN cd /src && ./dev build

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libfmt9 libprometheus-cpp-core1.0 libsimdjson14 libspdlog1.10 libssl3 libyaml-cpp0.7 libzstd1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/build/release/bin/dyn /usr/local/bin/dyn
USER 65534
ENTRYPOINT ["dyn"]
