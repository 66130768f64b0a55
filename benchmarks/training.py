"""Training side by side with the Hugging Face Trainer: throughput, start-up, and the share of the device's peak.

    python benchmarks/training.py [--device cuda:0] [--cases base-nli ...] [--rivals grouped+compile ...] [--save]

Both sides train the same encoder of random weights on the same made rows (`made`: lengths and word frequencies of
MNLI and SQuAD, 250,002 words of which 30,000 occur) by AdamW (fused), with the same head, hidden dropout 0.1,
attention dropout 0, clipping at 1, linear warm-up and decay, and exactly as many examples a step. bfloat16 is
autocast over float32 weights on both sides. Ours is the program's own training, `perform` of a `Train` stage.

A rival is how the Trainer pads: ``max`` (every row to the longest allowed), ``longest`` (to the longest of the batch)
or ``grouped`` (batches of similar length), then ``+compile`` (torch.compile), ``+dropout`` (its own attention
dropout, 0.1). It gets what makes it faster and changes no number: fused AdamW, no test of every loss for NaN (which
waits for the GPU), no logging, and two loader processes on a GPU.

A case is SHAPE-TASK or SHAPE-TASK-stage; shapes are base and large (XLM-R's), e5-small and tiny. Tasks:

* nli: three-way classification, 42 tokens on average, at most 128, 32 examples a step;
* qa: spans, 200 tokens on average, at most 384, 32 examples a step;
* tokens: nli with about 16,384 tokens a step, also as a share of the bfloat16 peak of a square matrix product
  measured in the same run; 6 operations a token and parameter of the layers, and attention's 12 L H len^2.

Throughput: every side is a process; all start and warm up together, then they run their windows in turn, the others
waiting, in one order and then the other. Where the device cannot hold all, ours runs again with each part of the
rivals. The device is waited for at both ends of a window only. Ratios are of windows of the same round. On a GPU a
window has 50 steps, as many as the groups that the Trainer sorts by length, so that each has rows of all lengths.

With -stage: seconds of a whole stage of ``--stage-steps`` steps from the encoder's folder to the saved weights, the
tokens being on disk: *cold* from the start of its process, *warm* a second time in that process. What torch.compile
keeps on disk is left as it is.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import itertools
import json
import math
import os
import pickle
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import made
import measure
from measure import Row, Side, Turns, Unable

from xstilts.mixture import Budget, Mixture
from xstilts.recipe import Recipe
from xstilts.stage import Data, Encoder, Train

RIVALS = ("max", "longest", "grouped")
TASKS = {"nli": "made-nli", "qa": "made-qa", "tokens": "made-nli"}
CASES = {
    "cuda": ("base-nli", "base-qa", "large-nli", "large-qa", "large-tokens", "base-nli-stage"),
    "cpu": ("e5-small-nli", "e5-small-nli-stage"),
}
PRECISIONS = {"cuda": ("bfloat16",), "cpu": ("float32", "bfloat16")}
DEFAULTS = {
    "cuda": {"steps": 400, "warmup": 100, "stage_steps": 300, "repeats": 6, "peak_size": 8192},
    "cpu": {"steps": 18, "warmup": 3, "stage_steps": 8, "repeats": 5, "peak_size": 1024},
}
TOKENS_A_STEP = 16_384
NO_RIVAL = (
    "rivals without padding (flattened batches with flash attention) need the flash-attn package, which is no part of "
    "this environment",
)


@dataclass(frozen=True)
class Job:
    """What both sides train: everything that a process needs to know."""

    folder: Path
    encoder: Path
    data: Data
    max_tokens: int
    batch_examples: int
    num_steps: int
    precision: str
    device: str
    num_threads: int
    learning_rate: float = 2e-5

    @property
    def stage(self) -> Train:
        """Ours."""
        recipe = Recipe(
            learning_rate=self.learning_rate,
            batch_examples=self.batch_examples,
            max_tokens=self.max_tokens,
            hidden_dropout=0.1,
            precision=self.precision,
            num_threads=self.num_threads,
            evaluate_every_steps=10**9,
            dev_examples=self.batch_examples,
        )
        mixture = Mixture((self.data.task,), sizes="present")
        encoder = Encoder(str(self.encoder), content="made")
        return Train(encoder, mixture, Budget(self.num_steps, "steps"), recipe, data=(self.data,))

    @property
    def features(self) -> Path:
        """The same rows for the Trainer, ready to load."""
        return self.folder / f"features-{self.data.content}.pickle"

    def tokenised(self) -> Any:
        """The rows as the program stores them."""
        from xstilts.engine import data, folders
        from xstilts.spec import digest

        made.declare()
        tokenizer = folders.load_tokenizer(self.encoder)
        key = digest(tokenizer.backend_tokenizer.to_str())
        cache = self.folder / "cache"
        rows = self.folder / "rows"
        return data.tokenised([self.data], tokenizer, key, max_tokens=self.max_tokens, data_dir=rows, cache_dir=cache)


# ------------------------------------------------------------ ours


def ours(connection: Connection, job: Job, turns: Callable[[int], None]) -> dict[str, list[float]]:
    """Train a stage; ``turns`` is told the steps done. Returns tokens and loss of every step."""
    from xstilts.engine import Context, perform

    made.declare()
    asked = itertools.count()

    def stop() -> bool:
        turns(next(asked))
        return False

    with tempfile.TemporaryDirectory(dir=job.folder) as name:
        out, work = Path(name, "out"), Path(name, "work")
        out.mkdir()
        places = {"work": work, "data_dir": job.folder / "rows", "cache_dir": job.folder / "cache"}
        context = Context({}, **places, device=job.device, stop=stop, checkpoint_seconds=math.inf)
        perform(job.stage, out, context)
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    if (times := next(asked)) != job.num_steps:
        raise RuntimeError(f"a training of {job.num_steps} steps asked {times} times whether to stop: no clock")
    steps = [line for line in lines if "loss" in line and "tokens" in line]
    return {"tokens": [line["tokens"] for line in steps], "losses": [line["loss"] for line in steps]}


# ------------------------------------------------------------ the Trainer


def rival(connection: Connection, job: Job, turns: Callable[[int], None], name: str) -> dict[str, list[float]]:
    """As `ours`, by transformers' Trainer."""
    import torch
    import transformers
    from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    torch.set_num_threads(job.num_threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    padding, *extra = name.split("+")
    on_gpu = job.device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(job.device)
    classes = {"made-nli": "AutoModelForSequenceClassification", "made-qa": "AutoModelForQuestionAnswering"}
    options: dict[str, Any] = {"num_labels": len(made.LABELS)} if job.data.task == "made-nli" else {}
    model = getattr(transformers, classes[job.data.task]).from_pretrained(
        job.encoder,
        dtype=torch.float32,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1 if "dropout" in extra else 0.0,
        local_files_only=True,
        **options,
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.encoder, local_files_only=True)
    masks: list[torch.Tensor] = []
    losses: list[torch.Tensor] = []

    class Counted(Trainer):
        def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> torch.Tensor:
            masks.append(inputs["attention_mask"])
            loss = super().training_step(model, inputs, *rest, **named)
            losses.append(loss.detach())
            return loss

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            turns(state.global_step)

    with tempfile.TemporaryDirectory(dir=job.folder) as out:
        arguments = TrainingArguments(
            output_dir=out,
            max_steps=job.num_steps,
            per_device_train_batch_size=job.batch_examples,
            learning_rate=job.learning_rate,
            weight_decay=0.01,
            warmup_steps=math.ceil(0.1 * job.num_steps),
            optim="adamw_torch_fused",
            bf16=job.precision == "bfloat16",
            use_cpu=not on_gpu,
            torch_compile="compile" in extra,
            **_sampling(TrainingArguments, padding == "grouped"),
            dataloader_num_workers=2 if on_gpu else 0,
            dataloader_drop_last=True,
            logging_strategy="no",
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        pad: Any = {"padding": "max_length", "max_length": job.max_tokens} if padding == "max" else {}
        trainer = Counted(
            model,
            arguments,
            data_collator=DataCollatorWithPadding(tokenizer, **pad),
            train_dataset=pickle.loads(job.features.read_bytes()),
            processing_class=tokenizer,
            callbacks=[Clock()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(str(Path(out, "weights")))
    return {"tokens": [int(mask.sum()) for mask in masks], "losses": torch.stack(losses).float().tolist()}


def write_features(job: Job) -> None:
    """Write the token ids and answers that ours reads as a list of what the Trainer takes."""
    table = job.tokenised()
    features = []
    for row in range(len(table)):
        ids, columns, _ = table.example(row)
        feature = {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids)}
        if job.data.task == "made-nli":
            feature["labels"] = int(table.targets["label"][row])
        else:
            feature |= {f"{end}_positions": int(columns[f"answer_{at}"].argmax()) for end, at in _ENDS.items()}
        features.append(feature)
    job.features.write_bytes(pickle.dumps(features))


def _sampling(arguments: Any, grouped: bool) -> dict[str, Any]:
    """Grouping by length as this version of transformers spells it."""
    if "train_sampling_strategy" in inspect.signature(arguments).parameters:
        return {"train_sampling_strategy": "group_by_length" if grouped else "random"}
    return {"group_by_length": grouped}


_ENDS = {"start": "first", "end": "last"}


# ------------------------------------------------------------ throughput


def timed(connection: Connection, job: Job, warmup: int, window: int, name: str | None) -> dict[str, list[float]]:
    """One side in its own process, a window a turn; of the last step only the beginning is seen."""
    turns = Turns(connection, warmup, window, job.device)
    return ours(connection, job, turns) if name is None else rival(connection, job, turns, name)


def throughput(asked: argparse.Namespace, case: str, precision: str, job: Job, missing: list[str]) -> list[Row]:
    """Tokens and examples a second, and for the case of many tokens the share of the peak."""
    shape, task = made.SHAPES[_shape(case)], _task(case)
    window = (asked.steps - asked.warmup) // asked.repeats
    gib = shape.gib(job.batch_examples * job.max_tokens)
    at_once = max(1, int(0.85 * _memory_gib(job.device) / gib) - 1)
    title = f"{case}, {precision}"
    rows = {unit: Row(title, unit, []) for unit in ("non-padding tokens/s", "examples/s")}
    parts = [asked.rivals[at : at + at_once] for at in range(0, len(asked.rivals), at_once)] or [()]
    for part in parts:
        works = {
            name or "ours": functools.partial(Side, timed, job, asked.warmup, window, name, patience=asked.patience)
            for name in (None, *part)
        }
        seconds, returned, unable = measure.race(works, asked.repeats)
        missing += [f"{title}: {name}: {why}" for name, why in unable.items()]
        for name in seconds:
            print(f"{title}, {name}: loss of the first and the last steps {_ends(returned[name]['losses'])}")
        if "ours" in unable:
            continue
        for unit, row in rows.items():
            speeds = {}
            for name, taken in seconds.items():
                counts = returned[name]["tokens"] if unit.endswith("tokens/s") else [job.batch_examples] * asked.steps
                starts = [asked.warmup + window * number for number in range(asked.repeats)]
                speeds[name] = [sum(counts[s : s + window]) / t for s, t in zip(starts, taken, strict=True)]
            mine = speeds.pop("ours")
            row.ours += mine
            for name, theirs in speeds.items():
                row.against(name, mine, theirs, more_is_faster=True)
    found = [row for row in rows.values() if row.ours]
    if task == "tokens" and found:
        peak = Side(peak_flops, job.device, asked.peak_size, patience=asked.patience)
        try:
            factor = shape.flops_per_token(job.tokenised().num_tokens) / peak.answer("done")
            missing += [] if precision == "bfloat16" else [f"{title}: the peak is of bfloat16"]
            share = Row(title, "share of the bfloat16 peak", [value * factor for value in found[0].ours])
            share.rivals = {name: [v * factor for v in values] for name, values in found[0].rivals.items()}
            share.ratio = dict(found[0].ratio)
            found.append(share)
        except Unable as why:
            missing.append(f"{title}: the device's peak: {why}")
        finally:
            peak.end()
    return found


def peak_flops(connection: Connection, device: str, size: int) -> float:
    """Operations a second of a bfloat16 product of two square matrices, the median of 5 times 10."""
    import torch

    left, right = torch.randn(2, size, size, device=device).bfloat16()
    found = []
    for repeat in range(6):
        measure.wait_for(device)
        started = time.perf_counter()
        for _ in range(10):
            torch.mm(left, right)
        measure.wait_for(device)
        if repeat:
            found.append(10 * 2 * size**3 / (time.perf_counter() - started))
    return statistics.median(found)


def _ends(losses: Sequence[float]) -> str:
    tenth = max(1, len(losses) // 10)
    return f"{statistics.fmean(losses[:tenth]):.3f} -> {statistics.fmean(losses[-tenth:]):.3f}"


def _memory_gib(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_properties(device).total_memory / 2**30
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


# ------------------------------------------------------------ a whole stage


def staged(connection: Connection, job: Job, name: str | None) -> dict[str, Any]:
    """The same stage twice in one process."""
    run = ours if name is None else functools.partial(rival, name=name)

    def no_turns(step: int) -> None:
        pass

    run(connection, job, no_turns)
    measure.wait_for(job.device)
    connection.send(("cold", None))
    started = time.perf_counter()
    losses = run(connection, job, no_turns)["losses"]
    measure.wait_for(job.device)
    return {"seconds": time.perf_counter() - started, "losses": losses}


def whole_stage(asked: argparse.Namespace, case: str, precision: str, job: Job, missing: list[str]) -> list[Row]:
    """Seconds of a stage, cold and warm, one process after the other."""
    title = f"{case}, {precision}, {job.num_steps} steps"
    names: dict[str, str | None] = {"ours": None} | {name: name for name in asked.rivals}
    cold: dict[str, list[float]] = {name: [] for name in names}
    warm: dict[str, list[float]] = {name: [] for name in names}
    unable: dict[str, str] = {}
    for repeat in range(asked.repeats):
        for name in list(names)[:: 1 if repeat % 2 == 0 else -1]:
            if name in unable:
                continue
            started = time.perf_counter()
            side = Side(staged, job, names[name], patience=asked.patience)
            try:
                side.answer("cold")
                seconds = time.perf_counter() - started
                told = side.answer("done")
                cold[name].append(seconds)
                warm[name].append(told["seconds"])
                if repeat == 0:
                    print(f"{title}, {name}: loss of the first and the last steps {_ends(told['losses'])}")
            except Unable as why:
                unable[name] = str(why)
            finally:
                side.end()
    missing += [f"{title}: {name}: {why}" for name, why in unable.items()]
    if "ours" in unable:
        return []
    rows = []
    for what, taken in (("cold start", cold), ("warm worker", warm)):
        row = Row(title, f"seconds a stage, {what}", taken["ours"])
        for name in asked.rivals:
            if name not in unable:
                row.against(name, taken["ours"], taken[name], more_is_faster=False)
        rows.append(row)
    return rows


# ------------------------------------------------------------ the command


def _shape(case: str) -> str:
    return next(name for name in made.SHAPES if case.startswith(f"{name}-"))


def _task(case: str) -> str:
    return case.removeprefix(f"{_shape(case)}-").removesuffix("-stage")


def prepare(folder: Path, case: str, precision: str, asked: argparse.Namespace, num_steps: int) -> Job:
    """The encoder, the rows and their tokens on disk."""
    name = TASKS[_task(case)]
    shape = made.SHAPES[_shape(case)]
    lengths = made.QA if name == "made-qa" else made.NLI
    batch = round(TOKENS_A_STEP / lengths.mean) if _task(case) == "tokens" else 32
    data = made.write_rows(folder / "rows", name, batch * num_steps, shape.vocab_size)
    encoder = made.encoder_folder(folder, shape)
    job = Job(folder, encoder, data, lengths.most, batch, num_steps, precision, asked.device, asked.threads)
    write_features(job)
    return job


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, with the defaults of the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--cases", nargs="+", help=f"default: {CASES}")
    parser.add_argument("--rivals", nargs="*", help="default: all; tokens and stages: grouped, and compiled on a GPU")
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bfloat16"), help=f"default: {PRECISIONS}")
    parser.add_argument("--steps", type=int, help="of a throughput, with those of the warm-up")
    parser.add_argument("--warmup", type=int, help="steps that do not count")
    parser.add_argument("--stage-steps", type=int, help="of a -stage case")
    parser.add_argument("--repeats", type=int, help="windows of a throughput; processes of a stage")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads of both sides")
    parser.add_argument("--peak-size", type=int, help="rows of the matrices that the peak is measured by")
    parser.add_argument("--patience", type=float, default=300, help="seconds until a side that is silent is left out")
    parser.add_argument("--work", type=Path, help="folder for encoders and rows, kept; default: a temporary one")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/training-DEVICE.json")
    parser.add_argument("--results", type=Path, default=measure.RESULTS, help="another folder for --save")
    asked = parser.parse_args(words)
    kind, _, number = asked.device.partition(":")
    if kind not in CASES:
        parser.error(f"--device {asked.device}: expected cpu or cuda:0")
    if kind == "cuda":  # one is seen: the Trainer would take all of them
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", number or "0")
        asked.device = "cuda:0"
    asked.cases = asked.cases or CASES[kind]
    asked.precisions = asked.precisions or PRECISIONS[kind]
    vars(asked).update({name: value for name, value in DEFAULTS[kind].items() if getattr(asked, name) is None})
    known = [f"{shape}-{task}" for shape in made.SHAPES for task in TASKS]
    for case in asked.cases:
        if case.removesuffix("-stage") not in known:
            parser.error(f"unknown case {case!r}: expected one of {', '.join(known)}, or one with -stage")
    for name in asked.rivals or ():
        padding, *extra = name.split("+")
        if padding not in RIVALS or not set(extra) <= {"compile", "dropout"}:
            parser.error(f"unknown rival {name!r}: expected {', '.join(RIVALS)}, maybe with +compile and +dropout")
    if asked.repeats < 1 or asked.warmup < 1 or asked.steps - asked.warmup < asked.repeats:
        parser.error("expected at least one step of warm-up and one timed step for each repeat")
    return asked


def _rivals(kind: str, case: str) -> tuple[str, ...]:
    """Those of a case when none are named."""
    both = ("", "+compile") if kind == "cuda" else ("",)
    if case.endswith("-stage") or _task(case) == "tokens":  # the others pad to several times as many tokens
        return tuple(f"grouped{more}" for more in both)
    return (*(f"{padding}{more}" for more in both for padding in RIVALS), *(f"grouped{more}+dropout" for more in both))


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure every case in every precision."""
    asked = parse(words)
    kind = asked.device.partition(":")[0]
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    chosen = asked.rivals
    rows: list[Row] = []
    missing = list(NO_RIVAL)
    folder = asked.work or Path(tempfile.mkdtemp())
    try:
        for case, precision in itertools.product(asked.cases, asked.precisions):
            stage = case.endswith("-stage")
            job = prepare(folder, case, precision, asked, asked.stage_steps if stage else asked.steps + 1)
            asked.rivals = _rivals(kind, case) if chosen is None else tuple(chosen)
            rows += (whole_stage if stage else throughput)(asked, case, precision, job, missing)
    finally:
        if asked.work is None:
            shutil.rmtree(folder, ignore_errors=True)
    what = (
        "training of encoders of random weights on made rows, beside transformers' Trainer; ratios are medians over "
        f"windows of the same round ({asked.repeats} repeats)"
    )
    to = asked.results if asked.save else None
    return measure.finish("training", what, asked.device, rows, missing, to, num_threads=asked.threads)


if __name__ == "__main__":
    main()
