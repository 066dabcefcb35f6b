"""The Florence-2 engine against transformers' own decoding, on Florence-2-base with random weights.

    python benchmarks/engine.py [--images 4] [--rounds 2] [--json FILE] [--device cuda]

Eight prompts an image, answers as long as those of FLD-5B, the same in every row. It needs torch,
transformers, numpy, Pillow and this repository's modules, and openvino for the rows of that name.

Each row has a process of its own, forked from one that made the model. On the CPU they take turns,
on a GPU, which has no room for all of them, one follows the other, and a row that fails is left
out. In a turn transformers answers for one image, the engine for all of them. The best turn counts:
on the CPU in processor seconds, on a GPU in seconds. Memory is the most that the process ever had,
the shared weights included; on a GPU, what torch ever allotted there. Answers are compared with
the first row's: equal but for a near tie means that they part at two tokens whose logits lie
within 1e-3.
"""

import argparse
import contextlib
import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from engine_limits import H200, NAIVE, ONCE, Rates, gpu_limits, measured_peaks, measured_rates
from engine_rows import Row, Turn, rows_of, worker
from figures import write_figures
from florence2_base import MENU, made_up_images, make_checkpoint
from PIL import Image

from stages.florence2.checkpoint import Checkpoint
from stages.florence2.reference import Reference
from stages.florence2.requests import Request


def main() -> None:
    chosen = _options()
    torch.set_num_threads(1)  # of this process: a fork of one that has used several hangs
    rows = _chosen_rows(chosen)
    checkpoint, images = make_checkpoint(), made_up_images(chosen.images)
    on_cpu = chosen.device == "cpu"
    peaks = _in_a_fork(measured_peaks) if on_cpu else {}
    rates = [] if on_cpu else [_in_a_fork(measured_rates), H200]
    turns, memory = all_turns(rows, checkpoint, images, chosen)
    rows = {name: row for name, row in rows.items() if name in memory}
    if not rows:
        sys.exit("every row failed")
    figures = {}
    for name, row in rows.items():
        by_beams = (turns[other] for other, theirs in rows.items() if theirs.beams == row.beams)
        equal, ties = compared(turns[name], next(by_beams), row, checkpoint, images)
        figures[name] = {
            "cpu_seconds": min(turn.cpu for turn in turns[name]),
            "seconds": min(turn.wall for turn in turns[name]),
            "peak_gigabytes": memory[name],
            "equal": equal,
            "ties": ties,
        }
    report(rows, figures, peaks, rates)
    if chosen.json:
        measured = {"rows": figures, "peaks": peaks, "rates": [asdict(one) for one in rates]}
        write_figures(chosen.json, {**measured, "options": _plain(chosen)})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--images", type=int, help="answered at once (4; 512 on a GPU)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--slots", type=int, nargs="+", help="answers decoded at a time")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on the CPU")
    parser.add_argument("--rows", help="which, by name, with commas; the first is the measure")
    parser.add_argument("--quick", action="store_true", help="2 images, 1 round")
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    on_cpu = chosen.device == "cpu"
    chosen.slots = chosen.slots or ([16] if on_cpu else [64, 128, 256, 512])
    chosen.images = chosen.images or (4 if on_cpu else 512)
    if chosen.quick:
        chosen.images, chosen.rounds = min(chosen.images, 2), 1
    return chosen


def _chosen_rows(chosen: argparse.Namespace) -> dict[str, Row]:
    rows = rows_of(chosen.device, chosen.slots)
    if chosen.rows:
        rows = {name: rows[name] for name in chosen.rows.split(",")}
    if importlib.util.find_spec("openvino") is None:
        print("openvino is not installed, so its rows are left out: pip install openvino")
        rows = {name: row for name, row in rows.items() if row.backend != "openvino"}
    return rows


def _plain(chosen: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(chosen).items() if name != "json"}


def _in_a_fork(work: Callable[[], Any]) -> Any:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(work)


def all_turns(
    rows: Mapping[str, Row],
    checkpoint: Checkpoint,
    images: Sequence[Image.Image],
    chosen: argparse.Namespace,
) -> tuple[dict[str, list[Turn]], dict[str, float]]:
    """The turns of each row, and its peak memory."""
    if chosen.device == "cpu":
        return take_turns(rows, checkpoint, images, chosen)
    turns: dict[str, list[Turn]] = {}
    memory: dict[str, float] = {}
    for name, row in rows.items():
        try:
            of_row = take_turns({name: row}, checkpoint, images, chosen)
        except (EOFError, ConnectionError):
            print(f"{name} failed, for the reason above, and is left out", flush=True)
            continue
        turns |= of_row[0]
        memory |= of_row[1]
    return turns, memory


def take_turns(
    rows: Mapping[str, Row],
    checkpoint: Checkpoint,
    images: Sequence[Image.Image],
    chosen: argparse.Namespace,
) -> tuple[dict[str, list[Turn]], dict[str, float]]:
    """As `all_turns`; EOFError or ConnectionError when the process of a row has ended."""
    turns: dict[str, list[Turn]] = {name: [] for name in rows}
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                worker(row, checkpoint, images, chosen.device, chosen.threads)
            )
            for name, row in rows.items()
        }
        for number in range(chosen.rounds):
            for name, ask in workers.items():
                turns[name].append(ask(number % chosen.images))
                turn = turns[name][-1]
                seconds = turn.cpu if chosen.device == "cpu" else turn.wall
                print(f"round {number + 1}: {name} {seconds:.2f} s", flush=True)
        return turns, {name: ask(None) for name, ask in workers.items()}


def compared(
    mine: Sequence[Turn],
    theirs: Sequence[Turn],
    row: Row,
    checkpoint: Checkpoint,
    images: Sequence[Image.Image],
) -> tuple[float, float]:
    """Shares of the answers that both rows have: token-equal, and parted at a near tie."""
    answers = {key: tokens for turn in mine for key, tokens in turn.answers.items()}
    pairs = [
        (key, (answers[key], tokens))
        for turn in theirs
        for key, tokens in turn.answers.items()
        if key in answers
    ]
    parted = [pair for pair in pairs if pair[1][0] != pair[1][1]]
    ties = 0
    if row.dtype is torch.float32 and row.beams == 1:
        for (number, task), both in parted:
            request = Request(number, task, MENU[task][1])
            ties += Reference(checkpoint, images[number]).part_at_a_tie(request, *both)
    return 1 - len(parted) / len(pairs), ties / len(pairs)


def report(
    rows: Mapping[str, Row],
    figures: Mapping[str, Mapping[str, float]],
    peaks: Mapping[str, float],
    rates: Sequence[Rates],
) -> None:
    """The table, and what bounds it: on the CPU `peaks`, on a GPU `rates`."""
    unit = "seconds" if rates else "cpu_seconds"
    base = figures[next(iter(rows))][unit]
    print(f"\n{'':<40}  images/s   s CPU  s wall  ratio  GB    equal  near ties")
    for name, row in rows.items():
        of = figures[name]
        print(
            f"{row.title:<40} {1 / of[unit]:>9.4f} {of['cpu_seconds']:>7.2f} "
            f"{of['seconds']:>7.2f} {base / of[unit]:>6.2f} {of['peak_gigabytes']:>5.2f} "
            f"{of['equal']:>6.1%} {of['ties']:>9.1%}"
        )
    for of_gpu in rates:
        tera = [of_gpu.operations / 1e12, of_gpu.bytes / 1e12]
        print(f"\n{of_gpu.gpu}: {tera[0]:.0f} TFLOP/s, {tera[1]:.1f} TB/s")
        for beams in (1, 3):
            floor, likely = gpu_limits(of_gpu, beams)
            print(
                f"with {beams} beam(s): at most {floor:.0f} images/s, {likely:.0f} to be expected"
            )
    print(f"\n{ONCE:.0f} GFLOP an image, {NAIVE:.0f} with the vision tower for each prompt")
    for name, peak in peaks.items():
        most = peak / ONCE
        print(
            f"{name:<26} peak {peak:>4.0f} GFLOP/s: at most {most:.3f} images/s, "
            f"{most * base:.1f} times the first row"
        )


if __name__ == "__main__":
    main()
