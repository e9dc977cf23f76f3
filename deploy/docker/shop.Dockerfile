# Every Python workload of the shop is this image: the shop's own code, and of the control plane's the two modules it uses.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS packages
RUN python -m venv --without-pip /opt/venv
COPY requirements-run.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --disable-pip-version-check --quiet --require-hashes \
        --requirement /tmp/requirements-run.lock

FROM packages AS project
COPY pyproject.toml /src/
COPY broker/__init__.py broker/bodies.py broker/tasks.py /src/broker/
COPY services/__init__.py /src/services/
COPY services/shop /src/services/shop
COPY deploy/docker/install.py /src/
RUN /opt/venv/bin/python /src/install.py /src /opt/project && rm -r /opt/project/bin

FROM ${PYTHON}
ARG UID=10001
RUN groupadd --gid ${UID} shop \
    && useradd --uid ${UID} --gid shop --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin shop
COPY --from=packages /opt/venv /opt/venv
COPY --from=project /opt/project /opt/project
COPY --chmod=755 deploy/docker/healthy.sh /usr/local/bin/healthy
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/project \
    PYTHONUNBUFFERED=1 \
    LANG=C.UTF-8 \
    TZ=UTC
USER ${UID}:${UID}
WORKDIR /opt/project
ENTRYPOINT ["python", "-m"]
# A probe costs the engine some 65 ms of processor time.
HEALTHCHECK --interval=15s --timeout=3s --retries=3 --start-period=60s --start-interval=1s CMD ["healthy", "8080"]
