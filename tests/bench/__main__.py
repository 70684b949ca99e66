"""Measure: `python -m tests.bench --help`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.arena import Arena, install_programs
from tests.bench.chart import chart
from tests.bench.contest import CONTESTANTS
from tests.bench.corpus import Corpus, load
from tests.bench.measure import CommandFailedError
from tests.bench.report import document, tables
from tests.bench.scale import scaled, synthetic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.scale import Scaled
    from tests.bench.targets import Results


def main() -> int:
    """Make the corpora if need be, run everything, write the results."""
    arguments = _parser().parse_args()
    install_programs()
    folder = arguments.folder.resolve()
    rounds = 1 if arguments.quick else arguments.rounds
    corpus = _corpus(folder, quick=arguments.quick)
    only = arguments.only.split(",") if arguments.only else [each.name for each in CONTESTANTS]
    results, failed = _contest(folder, corpus, only, rounds, arguments.output)
    counts = [4, 16] if arguments.quick else arguments.scale
    measured = _scale(folder, counts, 1 if arguments.quick else arguments.scale_mib) if counts else []
    if measured:
        results["own-verify-many"] = [measured[-1].verify]
    print(tables(corpus, results, measured))
    if arguments.output:
        _write(arguments.output, corpus, results, measured)
    for failure in failed:
        print(failure, file=sys.stderr)
    return 1 if failed else 0


def _write(output: Path, corpus: Corpus, results: Results, measured: Sequence[Scaled]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "bench.md").write_text(tables(corpus, results, measured))
    (output / "bench.json").write_text(document(corpus, results, measured))
    (output / "bench.svg").write_text(chart(results))


def _corpus(folder: Path, *, quick: bool) -> Corpus:
    place = folder / ("quick" if quick else "full")
    if load(place) is None:
        print("making the corpus", file=sys.stderr)
        _make("tests.bench.corpus", place, *(["--quick"] if quick else []))
    corpus = load(place)
    if corpus is None:
        raise FileNotFoundError(place)
    return corpus


def _make(module: str, *arguments: str | Path) -> None:
    """In a process of its own: the peak memory of what is measured begins at that of this process."""
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def _contest(
    folder: Path, corpus: Corpus, only: Sequence[str], rounds: int, output: Path | None
) -> tuple[Results, list[str]]:
    """Run everything `rounds` times; one that fails is told at the end and holds up no other."""
    results: Results = {}
    failed = []
    with Arena(folder / "arena", corpus) as arena:
        for number in range(rounds):
            for each in CONTESTANTS:
                if each.name not in only:
                    continue
                try:
                    run = each.run(arena)
                except (CommandFailedError, OSError, ValueError) as error:  # what an earlier one did not leave, too
                    failed.append(f"{number + 1}/{rounds} {each.name} failed: {error}")
                    print(failed[-1], file=sys.stderr, flush=True)
                    continue
                results.setdefault(each.name, []).append(run)
                told = f"{number + 1}/{rounds} {each.name}: {run.wall:.2f} s, CPU {run.cpu:.2f} s"
                print(told, file=sys.stderr, flush=True)
                if output:  # a round takes minutes: what fails later leaves what was measured before
                    _write(output, corpus, results, ())
    return results, failed


def _scale(folder: Path, counts: Sequence[int], mib: int) -> list[Scaled]:
    place = folder / f"many-{max(counts)}-{mib}"
    if load(place) is None:
        print("making the corpus of many images", file=sys.stderr)
        _make("tests.bench.scale", place, str(max(counts)), str(mib))
    found = []
    for count in counts:
        found.append(scaled(folder / "arena", synthetic(place), count))
        print(f"{count} images: {found[-1].cold.wall:.1f} s cold, {found[-1].warm.wall:.1f} s again", file=sys.stderr)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="corpora and work (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write bench.md, bench.json and bench.svg there")
    parser.add_argument("--quick", action="store_true", help="three small images, one round")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--only", metavar="A,B", help="some of: " + ", ".join(each.name for each in CONTESTANTS))
    parser.add_argument("--scale", type=int, nargs="*", default=[10, 40, 160], metavar="N", help="numbers of images")
    parser.add_argument("--scale-mib", type=int, default=16, metavar="N", help="size of each image's own layer")
    return parser


if __name__ == "__main__":
    sys.exit(main())
