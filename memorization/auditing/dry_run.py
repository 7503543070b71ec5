"""What an audit would do, and how long that may take, from a few batches that it is tried on."""

from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch

from memorization.auditing.run_audit import prepare_audit
from memorization.auditing.settings import AuditSettings
from memorization.encoding.encode import encode_task
from memorization.encoding.probe_sample import draw_samples
from memorization.encoding.probes import Probes
from memorization.extraction.engine import Prompt
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.models.adapted import ModelWeights

TRIED = 2  # batches


def describe_plan(settings: AuditSettings) -> Iterator[str]:
    """The lines that say what an audit would do: samples, probes, prompts, tokens, memory and time.

    Nothing is written but in a temporary directory, where the data is encoded. Raises UserError as run_audit does.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory())
        settings = prepare_audit(settings)
        encoding = replace(settings.encoding, output_dir=Path(directory), num_proc=1)
        start = perf_counter()
        with redirect_stdout(StringIO()) as printed:
            encode_task(encoding)
        encoded = perf_counter() - start
        yield from (line for line in printed.getvalue().splitlines() if not line.startswith("wrote "))
        yield ""
        yield "An audit would do this:"
        probes = Probes(directory, encoding.name, encoding.prefix_length, encoding.probe)
        yield f"  probes of kind {probes.kind}: {_by_side(probes)}; too short: {probes.too_short:,}"
        prompts = probes.prompts()
        of = settings.extraction
        probes.keep(draw_samples(probes, of.members, of.held_out, of.seed))
        yield f"  asked: {_by_side(probes)}; {prompts['distinct']:,} distinct prompts of {prompts['probes']:,}"
        models = (len(settings.sources) + bool(of.base_model)) * max(len(settings.lengths), 1)
        generations = len(probes) * of.num_samples * models
        yield f"  generations: {generations:,}, at most {generations * of.max_new_tokens:,} tokens"
        if of.engine != "transformers":
            yield f"  memory and time: not measured with --engine {of.engine}"
            return
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
        source = settings.sources[0]
        model = stack.enter_context(ModelWeights(source.plain, of.dtype, of.device_map or device).using(source.adapter))
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        engine = TransformersEngine(model, probes.ends, of.decoding, of.batch_size)
        engine.fit(probes, generations)
        seconds, number = _measured(engine, probes)
        config = model.config.get_text_config()
        cache = 2 * config.num_hidden_layers * config.hidden_size * model.dtype.itemsize
        most = cache * engine.batch_size * (probes.longest_prefix + of.max_new_tokens)
        yield (
            f"  memory on {device}: {_size(weights)} of weights, and up to about {_size(most)} for "
            f"{engine.batch_size} texts at a time"
        )
        total = encoded + seconds / number * len(probes) * of.num_samples * models
        yield (
            f"  time: about {_duration(total)} for encoding and generations, by {number} probes that took "
            f"{_duration(seconds)}; index and comparison come on top"
        )


def _by_side(probes: Probes) -> str:
    members, held_out = (np.unique(probes.ids[probes.members == side]) for side in (True, False))
    return f"{len(probes):,} of {len(members):,} members and {len(held_out):,} held-out samples"


def _measured(engine: TransformersEngine, probes: Probes) -> tuple[float, int]:
    """(seconds, number of probes) of the batches that are tried, chosen at random, after one probe that warms up."""
    chosen = np.random.default_rng(0).permutation(len(probes))[: TRIED * engine.batch_size]

    def work(numbers: list[int]) -> float:
        start = perf_counter()
        batch = [probes[i : i + 1][0] for i in sorted(numbers)]
        prompts = zip(batch, engine.score(batch), strict=True)
        engine.generate([Prompt(probe, 0, scores) for probe, scores in prompts])
        return perf_counter() - start

    work(chosen[:1].tolist())
    begins = range(0, len(chosen), engine.batch_size)
    return sum(work(chosen[begin : begin + engine.batch_size].tolist()) for begin in begins), len(chosen)


def _size(number: float) -> str:
    """A number of bytes, in words."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
