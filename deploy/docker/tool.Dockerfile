# What the platform's proxy runs for an instant in another container's network namespace, or beside its volume:
# firewall, traffic control, and our own scripts. It holds no secret and is never part of the stack.
ARG BASE=python:3.13-slim
FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends iproute2 iptables \
 && rm -rf /var/lib/apt/lists/*
COPY deploy/docker/tool/delay.py deploy/docker/tool/steps.py deploy/docker/tool/volume.py deploy/docker/tool/processes.py /opt/triage/
LABEL triage.tool="image"
ENTRYPOINT ["python3"]
CMD ["/opt/triage/steps.py", "[]"]
