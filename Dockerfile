# docker build --target cpu -t weakshot .          docker run --rm -v "$PWD:/work" weakshot check data=folder data.root=photos
# docker build --target cuda -t weakshot:cuda .    docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" weakshot:cuda train
# The steps are those of the Makefile: an environment, then pip install.
FROM python:3.12-slim AS base
ENV PIP_NO_CACHE_DIR=1 NO_ALBUMENTATIONS_UPDATE=1 PATH=/venv/bin:$PATH
RUN python -m venv /venv
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
COPY conf /src/conf
WORKDIR /work
ENTRYPOINT ["weakshot"]
CMD ["--help"]

FROM base AS cpu
RUN pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision && pip install /src

FROM base AS cuda
RUN pip install '/src[gpu]'
