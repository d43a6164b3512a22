# One image for every process; what runs in it is the command that compose (or you) gives.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /build
RUN python -m venv /opt/payouts
# The locked packages first: they change more seldom than the code. Wheels only, so that no compiler
# is needed and nothing is run that has no hash.
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN /opt/payouts/bin/pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        -r requirements/runtime.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY worker worker
COPY webhook webhook
COPY ops ops
COPY sandbox sandbox
COPY devstack devstack
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/payouts/bin/pip install --no-cache-dir --no-deps --no-index wheels/*.whl \
    && /opt/payouts/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin payouts
COPY --from=build /opt/payouts /opt/payouts
ENV PATH=/opt/payouts/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Nothing is written here.
WORKDIR /opt/payouts
USER 10001
CMD ["payouts", "--help"]
