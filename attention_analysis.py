"""The attention study: does a model look elsewhere when it reads what it has memorized?

    python attention_analysis.py --generations memorization_finetuned_dialogue/dialogue/dialogue.jsonl --output study

Zeng et al. 2024 found denser attention in tasks with much memorization, by the cross-attention of T5. Tasks also differ
in length and content, so here memorized members are compared with the other members of one task first, also among those
of as many copies; several results, one a task, are compared too. The model reads each member's true suffix (teacher
forcing), as far as stage 3 continued it. Of each head, the mean over these positions of four measures: the entropy of
the attention, divided by its maximum (ln of the tokens seen) so that length does not decide; its Gini coefficient; the
effective number of tokens (e^entropy); the mass on the prefix. A member with several turns counts once: with the means
of all its turns, and as memorized if one of them is. Of a causal model it is the self-attention, of an
encoder-decoder model the attention to the source, which has no mass on a prefix. Writes attention.npz (the measures by
sample), attention.csv (a row a comparison, measure and head) and heat_*.svg to --output. A killed study goes on where
it was.
"""

import argparse
import math
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from memorization.encoding.probe_sample import draw_samples
from memorization.encoding.probes import Probes
from memorization.extraction.attention import attention_measures
from memorization.extraction.generations import read_generations
from memorization.extraction.inputs import longest_source
from memorization.extraction.local_models import identify
from memorization.extraction.settings import add_device_map_argument
from memorization.models.adapted import ModelWeights
from memorization.models.adapters import model_source
from memorization.models.loading import load_config
from memorization.results.attention import ATTENTION, compare_heads, comparisons_csv, heat_map
from memorization.results.formats import visible
from memorization.shell.cli import Parser, UserError, run
from memorization.shell.flags import SEEDS, whole
from memorization.store import manifests
from memorization.store.directories import building, check_ours
from memorization.store.files import locked
from memorization.store.manifests import Manifest, Positive
from memorization.store.rows import Keyed, Rows


class MeasuresRow(Keyed):
    """The measures of a turn of a member, while the study is not finished.

    values: the bytes of float32 [layers, heads, 4].
    """

    shape: tuple[Positive, Positive, Literal[4]]
    values: bytes

    def __post_init__(self) -> None:
        if len(self.values) != 4 * math.prod(self.shape):
            raise ValueError(f"{len(self.values)} bytes are not {self.shape} numbers")


@dataclass(frozen=True)
class AttentionSettings:
    """The flags of the study (attention_analysis.py --help)."""

    generations: list[str]
    names: list[str] | None
    model_path: list[str] | None
    adapter: list[str] | None
    tokenized_dir: list[str] | None
    output: str
    matched_tokens: int | None
    samples: int | None
    batch_size: int
    boot: int
    seed: int
    device_map: str | None = None


class MemberMeasures(NamedTuple):
    """Of the members of a task. values: float32 [members, layers, heads, 4]. memorized: bool. copies: int64."""

    ids: np.ndarray
    values: np.ndarray
    memorized: np.ndarray
    copies: np.ndarray


def main(args: argparse.Namespace) -> None:
    settings = AttentionSettings(**vars(args))
    paths = [Path(path) for path in settings.generations]
    names = settings.names or [path.parent.name or path.stem for path in map(Path.absolute, paths)]
    lists = {"--names": names, "--model-path": settings.model_path, "--adapter": settings.adapter}
    lists["--tokenized-dir"] = settings.tokenized_dir
    for flag, values in lists.items():
        if values and len(values) != len(paths):
            raise UserError(f"{flag}: {len(values)} for {len(paths)} results; give one each, in order")
    if len(set(names)) < len(names):
        raise UserError(f"{visible(', '.join(names))}: two results are named alike; tell them apart by --names")
    output = Path(settings.output).resolve()
    check_ours(output, "study")
    with locked(output):
        write_study(paths, names, output, settings)


def write_study(paths: list[Path], names: list[str], output: Path, settings: AttentionSettings) -> None:
    """Measure each result of stage 3, compare, and write the study."""
    work = output.with_name(f".{output.name}.memorization-work")  # a kill leaves it, and the next run continues it
    tasks, studied, inputs = {}, [], {}
    arrays: dict[str, np.ndarray] = {}
    for number, (name, path) in enumerate(zip(names, paths, strict=True)):
        model = settings.model_path[number] if settings.model_path else None
        adapter = settings.adapter[number] if settings.adapter else None
        directory = settings.tokenized_dir[number] if settings.tokenized_dir else None
        members, manifest = measure_members(path, model, adapter, directory, settings, work / f"{number}.jsonl")
        tasks[name] = members[1:]
        arrays |= {f"{column}_{number}": array for column, array in members._asdict().items()}
        studied.append({"name": name, "generations": manifest.identity, "contents": manifest.contents})
        inputs[str(path)] = manifest.contents
    comparisons = list(compare_heads(tasks, settings.boot, settings.seed))
    if not comparisons:
        raise UserError("nothing to compare: no task has two memorized and two other members; lower --matched-tokens")
    maps = {f"heat_{number:03}.svg": each for number, each in enumerate(comparisons)}
    with building(output, "study") as (temporary, _):
        np.savez(temporary / "attention.npz", names=np.array(names), **arrays)  # type: ignore[arg-type]  # any name
        (temporary / "attention.csv").write_text(comparisons_csv(comparisons), encoding="utf-8")
        for file, each in maps.items():
            (temporary / file).write_text(heat_map(each), encoding="utf-8")
        titles = {file: f"{name}: {measure}" for file, (name, measure, *_) in maps.items()}
        made_of = {"tasks": studied, "format": 1}
        made_of |= {
            name: getattr(settings, name) for name in ("matched_tokens", "samples", "boot", "seed", "batch_size")
        }
        rows = sum(len(memorized) for _, memorized, _ in tasks.values())
        manifests.write_manifest(
            temporary / "attention.npz", ATTENTION, made_of, asdict(settings), inputs, rows=rows, heat_maps=titles
        )
    shutil.rmtree(work)
    for name, (_, memorized, copies) in tasks.items():
        compared = any(title.startswith(f"{name}, memorized - other, of copies ") for title, *_ in comparisons)
        if memorized.any() and len(np.unique(copies)) > 1 and not compared:
            print(f"{visible(name)}: no number of copies has both, so memorized and other members differ in it as well")
    for name, measured, n_a, n_b, of_heads in comparisons:
        below, above = ((of_heads.p <= 0.05) & (sign * of_heads.difference > 0) for sign in (-1, 1))
        heads = of_heads.p.size
        counts = f"{measured} higher in {above.sum()}, lower in {below.sum()} of {heads} heads"
        print(f"{visible(name)} (n = {n_a}, {n_b}): {counts}")
    print(f"wrote attention.npz, attention.csv and {len(maps)} heat maps in {settings.output}")


def measure_members(
    path: Path,
    model_path: str | None,
    adapter: str | None,
    directory: str | None,
    settings: AttentionSettings,
    work: Path,
) -> tuple[MemberMeasures, Manifest]:
    """The measures of the members of a result of stage 3, and the manifest of its generations.

    work: where they are kept until the study is finished.
    """
    generations, manifest = read_generations(path)
    if manifest is None:
        raise UserError(f"{path}: has no manifest; name the .jsonl that inference_prefix.py wrote")
    made_of, arguments = manifest.made_of, manifest.arguments
    if not {"subset_name", "model_path", "tokenized_dir"} <= arguments.keys() or "max_new_tokens" not in made_of:
        raise UserError(f"{path}: its manifest does not say which probes it is of; run inference_prefix.py again")
    if made_of["prefix_length"] is None:
        raise UserError(f"{path}: is of a file of probes; name generations of stage 1's")
    (own,) = arguments.get("adapter") or [None]
    source = model_source(model_path or arguments["model_path"], adapter or own)
    config = load_config(source.plain)
    if (contents := identify(source).contents) != made_of["model"]:
        raise UserError(
            f"{source.name}: is not the model of {path} (contents {contents[:12]}, by its manifest "
            f"{made_of['model'][:12]}); name the right one by --model-path, or --adapter"
        )
    directory = directory or arguments["tokenized_dir"]
    probes = Probes(directory, arguments["subset_name"], made_of["prefix_length"], made_of.get("probe"))
    if probes.encoding != made_of["encoding"]:
        raise UserError(f"{probes.path}: is another encoding than that of {path}; name the right --tokenized-dir")
    memorized: dict[tuple[int, int], bool] = {}
    for row in generations:
        exact, least = row.exact_match, settings.matched_tokens
        if least is not None:
            exact = None if row.matched_tokens is None else row.matched_tokens >= least
        if exact is None:
            raise UserError(f"{path}: row {row.id} does not say what matches; run inference_prefix.py again")
        memorized[row.key[:2]] = memorized.get(row.key[:2], False) or exact
    has_row = [key in memorized for key in zip(probes.ids.tolist(), probes.turns.tolist(), strict=True)]
    with_row = probes.members & np.array(has_row)
    if not with_row.any():
        raise UserError(f"{path}: has no members; encode with a training set")
    probes.keep(with_row)
    probes.keep(draw_samples(probes, settings.samples, None, settings.seed, flags=("--samples", "")))
    length = made_of.get("source_length") or longest_source(source, config, probes.kind)
    of = {"generations": manifest.identity, "probes": probes.manifest.contents, "source_length": length, "format": 2}
    of |= {"samples": settings.samples, "seed": settings.samples and settings.seed, "batch_size": settings.batch_size}
    probed = list(zip(probes.ids.tolist(), probes.turns.tolist(), strict=True))
    keys = [(*key, 0) for key in probed]
    with Rows(work, ATTENTION, MeasuresRow, of, keys, settings.batch_size) as rows, ExitStack() as stack:
        print(rows.progress, flush=True)
        if rows.mine:
            print(f"loading {source.name}", flush=True)
            device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
            model = stack.enter_context(
                ModelWeights(source.plain, "float32", settings.device_map or device).using(source.adapter)
            )
            model.set_attn_implementation("eager")
        for _, batch in tqdm(rows.mine, desc="attention", unit="batch"):
            of_batch = probes[batch.start : batch.stop]
            measures = attention_measures(model, of_batch, length, made_of["max_new_tokens"])
            rows.append(
                MeasuresRow(id=probe["id"], turn=probe["turn"], sample=0, shape=values.shape, values=values.tobytes())
                for probe, values in zip(of_batch, measures, strict=True)
            )
        if len({row.shape for row in rows}) > 1:
            raise UserError(f"{work}: is damaged; remove {work.parent} and start again")
        values = [np.frombuffer(row.values, np.float32).reshape(row.shape) for row in rows]
    # a sample's measures are the means of its turns', and it is memorized if one of them is
    begins = np.flatnonzero(np.diff(probes.ids, prepend=-1))
    means = np.add.reduceat(np.stack(values), begins) / np.diff(begins, append=len(probes))[:, None, None, None]
    of_samples = np.logical_or.reduceat([memorized[key] for key in probed], begins)
    return MemberMeasures(probes.ids[begins], means.astype(np.float32), of_samples, probes.duplicates[begins]), manifest


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--generations", nargs="+", required=True, help="results of stage 3 (.jsonl), one a task")
    parser.add_argument("--names", nargs="+", help="what they are called (default: their directories)")
    parser.add_argument("--model-path", nargs="+", help="their models (default: those that their manifests name)")
    parser.add_argument("--adapter", nargs="+", metavar="DIR", help="adapters of peft on them (default: likewise)")
    parser.add_argument("--tokenized-dir", nargs="+", help="where stage 1 wrote (default: as their manifests say)")
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="a directory for the study, replacing an earlier"
    )
    parser.add_argument(
        "--matched-tokens",
        type=whole(1),
        help="memorized: so many tokens of the suffix come out (default: an exact match)",
    )
    parser.add_argument(
        "--samples", type=whole(1), help="of each task, so many members, drawn as stage 3 draws (default: all)"
    )
    parser.add_argument("--batch-size", type=whole(1), default=8, help="members at a time (default: %(default)s)")
    add_device_map_argument(parser)
    parser.add_argument(
        "--boot", type=whole(100, 1_000_000), default=2000, help="draws of the bootstrap (default: %(default)s)"
    )
    parser.add_argument("--seed", type=whole(0, SEEDS), default=5, help="of the draws (default: %(default)s)")
    run(main, parser.parse_args())
