#   docker build -t cdc-daemon .
#
# Behind a proxy or with a package index of your own, give pip its configuration (pip.conf: index-url, proxy, cert) and a CA
# certificate, which pip.conf then names as `cert = /run/secrets/ca`. Neither gets into the image:
#   docker build -t cdc-daemon --secret id=pip,src=pip.conf --secret id=ca,src=ca.pem .
#
# For a release pin both images, as `docker buildx imagetools inspect python:3.13-slim-bookworm` tells them:
#   --build-arg BUILD_DIGEST=sha256:... --build-arg RUNTIME_DIGEST=sha256:...
#   --build-arg REVISION=$(git rev-parse HEAD) --build-arg CREATED=$(date -u +%FT%TZ)
#
# tests/container runs every command of the first stage outside a container, and what it makes.
ARG PYTHON_VERSION=3.13
ARG BUILD_DIGEST=
ARG RUNTIME_DIGEST=

FROM python:${PYTHON_VERSION}-bookworm${BUILD_DIGEST:+@${BUILD_DIGEST}} AS build

WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# What does not change with the code comes first. Every wheel is checked by its hash; the lock files are complete, so
# nothing is resolved again.
COPY requirements/build.lock requirements/runtime.lock requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    python -m venv /build/tools \
    && /build/tools/bin/pip install --no-deps --require-hashes -r requirements/build.lock
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    python -m venv --without-pip /opt/cdc-daemon \
    && /build/tools/bin/pip --python /opt/cdc-daemon install \
        --no-deps --require-hashes -r requirements/runtime.lock

COPY pyproject.toml README.md LICENSE ./
COPY cdc_daemon ./cdc_daemon
COPY http ./http
COPY docs/runbook.md ./docs/runbook.md
COPY config.example.yaml config.sunbird-spark.yaml ./
COPY examples ./examples
RUN /build/tools/bin/python -m hatchling build -t wheel -d /build/dist \
    && /build/tools/bin/pip --python /opt/cdc-daemon install \
        --no-deps --no-index /build/dist/*.whl

# The compiled scan of the commit log, for this very interpreter, into the installed package (-P: not into the sources
# that lie here). It is not optional.
RUN PYTHONPATH="$(/build/tools/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    CDC_DAEMON_COMMITLOG=python /opt/cdc-daemon/bin/python -P -m cdc_daemon.commitlog.building \
    && CDC_DAEMON_COMMITLOG=compiled /opt/cdc-daemon/bin/cdc-daemon version

# What is in the image, in CycloneDX.
RUN /build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-format JSON --output-reproducible \
        --output-file /opt/cdc-daemon/sbom.cdx.json /opt/cdc-daemon/bin/python

# The root file system is read-only where the daemon runs, so everything is compiled now.
RUN /opt/cdc-daemon/bin/python -m compileall -q /opt/cdc-daemon/lib \
    && mkdir /build/state


# Nothing is run in this stage, and nothing in it needs a shell.
FROM python:${PYTHON_VERSION}-slim-bookworm${RUNTIME_DIGEST:+@${RUNTIME_DIGEST}}

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
# The address of the repository that the image is built from. Each build has its own.
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="cdc-daemon" \
      org.opencontainers.image.description="Keeps Elasticsearch equal to Cassandra" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

ENV PATH=/opt/cdc-daemon/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

COPY --from=build /opt/cdc-daemon /opt/cdc-daemon
COPY --from=build --chown=999:999 /build/state /var/lib/cdc-daemon

# Cassandra's user in its image: the daemon deletes Cassandra's files in cdc_raw.
USER 999:999
WORKDIR /var/lib/cdc-daemon
# Requests and the status page; probes and metrics. As the manifests and compose.yaml configure them.
EXPOSE 9808 9809
STOPSIGNAL SIGTERM
ENTRYPOINT ["cdc-daemon"]
CMD ["run"]
