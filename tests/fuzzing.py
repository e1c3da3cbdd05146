"""``python -m tests.fuzzing [--seconds N] [--seed N] [--hurting BYTES] [NAME …]``: every decoder in turn, until the
time is over or one is at fault; the input is kept then, in a file that is named. ``--hurting``: instead, all that was
made to hurt, in this size."""

import itertools
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

from tests import shared
from tests.fuzz import hostile, judging, mutating
from tests.fuzz.decoding import Decoder
from tests.fuzz.table import TABLE

NAMES = [each.name for each in TABLE]
SLOW_S = 2.0


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--seconds", default=60.0)
@click.option("--seed", type=int)
@click.option("--hurting", type=int)
def main(names: tuple[str, ...], seconds: float, seed: int | None, hurting: int | None) -> None:
    chosen = [each for each in TABLE if not names or each.name in names]
    if hurting is not None:
        for decoder in chosen:
            for _, data in hostile.hostile(decoder.kind, decoder.documents[0], hurting):
                _judge(decoder, data)
        return
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    click.echo(f"--seed {seed}")
    rng, tried, until = random.Random(seed), Counter[str](), time.monotonic() + seconds
    for decoder in itertools.cycle(chosen):
        if time.monotonic() >= until:
            break
        documents = [*decoder.documents, *_recorded(decoder)]
        for _ in range(50):
            _judge(decoder, mutating.mutated(rng, decoder.kind, rng.choice(documents)))
            tried[decoder.name] += 1
    click.echo(f"{sum(tried.values())} inputs, no fault; least often: {tried.most_common()[-1]}")


def _judge(decoder: Decoder, data: bytes) -> None:
    try:
        took_s = judging.judge(decoder, data)
    except judging.FaultError as error:
        raise SystemExit(f"{error}; the input: {_kept(decoder.name, data)}") from error
    if took_s > SLOW_S:
        click.echo(f"{decoder.name} took {took_s:.1f} s for {len(data)} bytes: {_kept(decoder.name, data)}")


def _recorded(decoder: Decoder) -> list[bytes]:
    folder = shared.path()
    found = sorted(folder.glob(f"samples/{decoder.samples}")) if folder and decoder.samples else []
    return [each.read_bytes() for each in found if each.stat().st_size < 200_000]


def _kept(name: str, data: bytes) -> Path:
    with tempfile.NamedTemporaryFile(prefix=f"tocsin-fuzz-{name}-", delete=False) as stream:
        stream.write(data)
    return Path(stream.name)


if __name__ == "__main__":
    main()
