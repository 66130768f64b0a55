"""Whether the fast path learns as well as the plain one: dev accuracy of both after the same steps, seed by seed.

    python benchmarks/quality.py [--cases miniature mnli] [--data DIR] [--seeds 5] [--save]

Ours is the program's own training, with all that makes it fast: packed rows without padding, bfloat16, the embedding
rows in use, fused AdamW with clipping inside and, on a GPU, captured steps. The rival is a loop of this script, with
nothing of that: rows padded to the longest, transformers' own attention with a mask, float32, the whole embedding
table, AdamW without fusing, ``clip_grad_norm_``. Start, head and its first weights, order of the rows, learning rates
and number of steps are the same; dropout masks cannot be. Both are measured on the same dev rows, each by its own
forward.

* miniature: ``mini-nli`` from ``tiny`` after its masked language modelling;
* mnli: ``mnli@sample`` (8,999 training and 1,000 dev rows under ``--data``) from ``offline``.

The verdict is on the mean of the paired differences, with a 95 % t interval: the guard holds when the interval holds 0
or the difference is below one point. Values are accuracies in percent; the ratio is of their means.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import measure
from measure import Row

from xstilts.mixture import Budget, Mixture
from xstilts.recipe import Recipe
from xstilts.stage import Encoder, Train
from xstilts.studies.parts import start_of
from xstilts.study import Plan, Sources, make_plan


class Case(NamedTuple):
    """What is trained: a start, a task and how."""

    start: Encoder | Train
    task: str
    num_steps: int
    recipe: Recipe


def cases(asked: argparse.Namespace) -> dict[str, Case]:
    """By name; ``--mlm`` and ``--steps`` make them smaller, for a try."""
    tiny = start_of("tiny", "main", "mini-text", asked.mlm)
    small = Recipe(
        learning_rate=5e-4, batch_examples=32, max_tokens=128, precision="bfloat16", evaluate_every_steps=10**9
    )
    real = replace(small, learning_rate=1e-4, batch_examples=16, dev_examples=1_000)
    return {
        "miniature": Case(tiny, "mini-nli", asked.steps or 250, small),
        "mnli": Case(Encoder("offline"), "mnli@sample", asked.steps or 250, real),
    }


def planned(case: Case, seed: int, sources: Sources) -> Plan:
    """The case's training with one seed, and what it starts from."""
    stage = Train(
        case.start, Mixture((case.task,), sizes="present"), Budget(case.num_steps, "steps"), case.recipe, seed
    )
    return make_plan("quality", [stage], sources)


def fast(stage: Train, out: Path, context: Any) -> float:
    """Dev accuracy after the program's own training."""
    from xstilts.engine import perform

    (out / "fast").mkdir(parents=True)
    result = perform(stage, out / "fast", context)["result"]
    print(
        f"    fast: {result['step_path']}, embedding rows {result['embedding_rows']}, loss {result['final_loss']:.4f}"
    )
    return float(result["tasks"][stage.mixture.tasks[0]]["dev"]["accuracy"])


def plain(stage: Train, context: Any) -> float:
    """Dev accuracy after the loop without anything fast."""
    import torch

    from xstilts.engine import start_folder
    from xstilts.engine.model import Model
    from xstilts.engine.packing import schedule
    from xstilts.engine.step import learning_rate
    from xstilts.engine.train import _members
    from xstilts.spec import stream_seed

    (name,) = stage.mixture.tasks
    recipe, device = stage.recipe, torch.device(context.device)
    model = Model(start_folder(stage.start, context), recipe)
    model.add_heads([name], recipe, stage.seed)
    (member,) = _members(stage, model, context)
    plan = schedule(
        stage.mixture, stage.budget, stage.seed, present=[len(member.rows)], official=[None],
        batch_examples=[recipe.batch_examples],
    )  # fmt: skip
    encoder, head = model.encoder.model.to(device), model.head(name).to(device)
    encoder.set_attn_implementation("eager")
    parameters = [*encoder.parameters(), *head.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(recipe.adam_beta1, recipe.adam_beta2), eps=recipe.adam_epsilon)

    def logits(data: Any, rows: Sequence[int]) -> torch.Tensor:
        ids = [torch.from_numpy(data.example(int(row))[0]) for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=encoder.config.pad_token_id)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
        states = encoder(input_ids=padded.to(device), attention_mask=mask.to(device)).last_hidden_state
        return head(states[:, 0])

    loss = torch.zeros(())
    for step in range(plan.num_steps):
        model.train()
        torch.manual_seed(stream_seed(stage.seed, "dropout", step))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step, plan.num_steps)
        rows = plan.rows(step)
        gold = torch.from_numpy(member.rows.targets["label"][rows]).to(device)
        loss = torch.nn.functional.cross_entropy(logits(member.rows, rows), gold)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm)
        optimiser.step()
    print(f"    plain: loss {loss.item():.4f}")
    model.eval()
    num_rows, num_right = min(recipe.dev_examples, len(member.dev)), 0
    with torch.no_grad():
        for start in range(0, num_rows, 32):
            rows = range(start, min(start + 32, num_rows))
            num_right += int(
                (logits(member.dev, rows).argmax(1).cpu().numpy() == member.dev.targets["label"][rows]).sum()
            )
    return num_right / num_rows


def difference(fast: Sequence[float], plain: Sequence[float]) -> tuple[float, float]:
    """Mean of the paired differences and the half width of its 95 % t interval."""
    from scipy.stats import t

    apart = [a - b for a, b in zip(fast, plain, strict=True)]
    half = float(t.ppf(0.975, len(apart) - 1)) * statistics.stdev(apart) / math.sqrt(len(apart))
    return statistics.mean(apart), half


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Train everything with every seed on both paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=("miniature", "mnli"), default=["miniature"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="instead of the case's own")
    parser.add_argument("--mlm", type=int, help="examples of masked language modelling before the miniature's training")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/quality-DEVICE.json")
    parser.add_argument("--results", type=Path, default=measure.RESULTS, help="another folder for --save")
    asked = parser.parse_args(words)
    from xstilts.engine import Context, perform

    rows, missed, notes = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title in asked.cases:
            case = cases(asked)[title]
            done: dict[str, Path] = {}
            row = Row(f"{title}, {case.num_steps} steps", "dev accuracy, %", [])
            theirs = []
            for seed in range(asked.seeds):
                plan = planned(case, seed, Sources(asked.data, folder))
                *before, own = plan.stages.values()
                for stage in before:
                    if stage.id not in done:
                        out = folder / stage.id
                        out.mkdir()
                        perform(stage, out, Context(done, out / "work", asked.data, folder, asked.device))
                        done[stage.id] = out / "weights"
                assert isinstance(own, Train)
                context = Context(done, folder / own.id / "work", asked.data, folder, asked.device)
                row.ours.append(100 * fast(own, folder / own.id, context))
                theirs.append(100 * plain(own, context))
                print(f"{title}, seed {seed}: fast {row.ours[-1]:.1f}, plain {theirs[-1]:.1f}", flush=True)
            row.against("plain", row.ours, theirs, more_is_faster=True)
            rows.append(row)
            if asked.seeds > 1:
                mean, half = difference(row.ours, theirs)
                interval = f"95 % interval {mean - half:+.2f} to {mean + half:+.2f}, {asked.seeds} seeds"
                notes.append(f"{row.case}: fast less plain {mean:+.2f} points, {interval}.")
                if abs(mean) > half and abs(mean) >= 1:
                    missed.append(f"{row.case}: the paths differ by more than seed noise")
    print("\n".join(notes))
    what = "Dev accuracy of the fast path beside a plain padded float32 loop, the same steps and seeds"
    return measure.finish(
        "quality", what, asked.device, rows, missed, asked.results if asked.save else None, notes=notes
    )


if __name__ == "__main__":
    main()
