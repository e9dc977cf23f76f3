# Every Python role of the control plane is this image; the command names the module, the volumes give the rights.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS packages
RUN python -m venv --without-pip /opt/venv
COPY requirements-run.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --disable-pip-version-check --quiet --require-hashes \
        --requirement /tmp/requirements-run.lock

FROM packages AS project
COPY . /src
RUN /opt/venv/bin/python /src/deploy/docker/install.py /src /opt/project \
    && PYTHONPATH=/opt/project /opt/venv/bin/python -m deploy.docker.volumes /opt/volumes

FROM ${PYTHON}
ARG UID=10001
# Folders that volumes are mounted on: an empty volume takes their owner and mode, so nothing ever has to run as root.
# Two of them are written by the platform proxy, which is another user in this group (deploy/docker/volumes.py).
RUN groupadd --gid ${UID} triage \
    && useradd --uid ${UID} --gid triage --no-create-home --home-dir /var/lib/triage/home --shell /usr/sbin/nologin triage \
    && install --directory --owner triage --group triage --mode 0750 \
        /run/triage/role /run/triage/tokens /run/triage/secrets /run/triage/audit /var/lib/triage /var/lib/triage/home \
    && install --directory --owner triage --group triage --mode 0770 /run/triage/inventory /var/lib/triage/platform
COPY --from=project --chown=${UID}:${UID} /opt/volumes /volumes
COPY --from=packages /opt/venv /opt/venv
COPY --from=project /opt/project /opt/project
COPY --chmod=755 deploy/docker/healthy.sh /usr/local/bin/healthy
ENV PATH=/opt/project/bin:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/project \
    PYTHONUNBUFFERED=1 \
    LANG=C.UTF-8 \
    TZ=UTC
USER ${UID}:${UID}
WORKDIR /var/lib/triage
ENTRYPOINT ["python", "-m", "deploy.docker.start"]
# A probe costs the engine some 65 ms of processor time, and at the start a dozen roles are probed at once.
HEALTHCHECK --interval=15s --timeout=3s --retries=3 --start-period=60s --start-interval=2s CMD ["healthy", "9100"]
