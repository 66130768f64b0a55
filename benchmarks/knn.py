"""Exact nearest neighbours, and mining by margin, against faiss-cpu's flat index and numpy.

    python benchmarks/knn.py [--device cpu] [--candidates 200000] [--pairs 50000] [--repeats 5] [--save]

Random vectors. faiss and numpy are given vectors of length 1, and faiss an index that is built: neither is timed, but
in a line of its own. Ours is given vectors as an encoder makes them, and its time holds the normalising. Every program
has all cores.
On a GPU ours has the vectors there, and the rivals are torch's own product and topk there and faiss on the CPU.
``--candidates`` are those of the search, ``--pairs`` the vectors on each side of mining. Neighbours may differ only
where the values of one rank are within 5e-6 (vectors are made unit in different orders), else the benchmark fails; how
many do is saved. ``--save`` writes
benchmarks/results/knn-DEVICE.json. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import os
import resource
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import torch
from side_by_side import document, measure, save
from torch.nn.functional import normalize

from xstilts.engine.kinds.embed import neighbours

Found = tuple[np.ndarray, np.ndarray]  # indices and similarities, both [Q, K]


def with_numpy(queries: np.ndarray, candidates: np.ndarray, keep: int) -> Found:
    """By argpartition of blocks of similarities."""
    found = []
    for start in range(0, len(queries), 256):
        similarity = queries[start : start + 256] @ candidates.T
        near = np.argpartition(-similarity, keep, axis=1)[:, :keep]
        values = np.take_along_axis(similarity, near, 1)
        order = np.argsort(-values, axis=1, kind="stable")
        found.append((np.take_along_axis(near, order, 1), np.take_along_axis(values, order, 1)))
    index, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return index, values


def with_torch(queries: torch.Tensor, candidates: torch.Tensor, keep: int) -> Found:
    """By topk of all similarities of 1,024 queries."""
    found = [(block @ candidates.T).topk(keep, dim=1) for block in queries.split(1024)]
    index, values = (torch.cat([getattr(part, name) for part in found]) for name in ("indices", "values"))
    return index.cpu().numpy(), values.cpu().numpy()


def with_ours(queries: torch.Tensor, candidates: torch.Tensor, keep: int) -> Found:
    """As a measurement does."""
    index, values = neighbours(queries, candidates, keep)
    return index.cpu().numpy(), values.cpu().numpy()


def mined(search: Callable[[int], Found]) -> Found:
    """Best candidate of every query by ratio margin (Artetxe and Schwenk 2019), from both directions' searches."""
    (index, values), (_, back) = search(0), search(1)
    margin = values / (values.mean(1, keepdims=True) + back.mean(1)[index]) * 2
    best = margin.argmax(1)[:, None]
    return np.take_along_axis(index, best, 1), np.take_along_axis(margin, best, 1)


def difference(ours: Found, other: Found) -> dict[str, Any]:
    """How many neighbours differ, and by how much their similarities do at most."""
    result = {
        "num_neighbours": ours[0].size,
        "num_different": int((ours[0] != other[0]).sum()),
        "largest_difference_of_similarity": float(np.abs(ours[1] - other[1]).max()),
    }
    if result["largest_difference_of_similarity"] > 5e-6:
        raise SystemExit(f"the neighbours are not the same: {result}")
    return result


def main() -> None:
    """Measure, compare, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--candidates", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    device = torch.device(asked.device)
    num_threads = os.cpu_count() or 1
    torch.set_num_threads(num_threads)
    faiss.omp_set_num_threads(num_threads)
    generator = torch.Generator().manual_seed(0)
    rows = []
    sizes = ((1_000, asked.candidates, 768, 20, False), (asked.pairs, asked.pairs, 384, 8, True))
    for num_queries, num_candidates, width, keep, mining in sizes:
        sides = [torch.randn(size, width, generator=generator) for size in (num_queries, num_candidates)]
        if mining:  # pairs of near vectors
            sides[1] += 2 * sides[0]
        unit = [normalize(side, dim=1) for side in sides]
        there, unit_there = ([side.to(device) for side in both] for both in (sides, unit))
        plain = [side.numpy() for side in unit]
        indexes = []
        for side in plain:
            indexes.append(faiss.IndexFlatIP(width))
            indexes[-1].add(side)

        def ours(way: int, there: list[torch.Tensor] = there, keep: int = keep) -> Found:
            return with_ours(there[way], there[1 - way], keep)

        def flat(way: int, plain: list[np.ndarray] = plain, indexes: list[Any] = indexes, keep: int = keep) -> Found:
            return indexes[1 - way].search(plain[way], keep)[::-1]

        def prepared(way: int, sides: list[torch.Tensor] = sides, keep: int = keep) -> Found:
            queries, candidates = (side.numpy().copy() for side in (sides[way], sides[1 - way]))
            faiss.normalize_L2(queries)
            faiss.normalize_L2(candidates)
            index = faiss.IndexFlatIP(candidates.shape[1])
            index.add(candidates)
            return index.search(queries, keep)[::-1]

        def dense(way: int, plain: list[np.ndarray] = plain, keep: int = keep) -> Found:
            return with_numpy(plain[way], plain[1 - way], keep)

        def on_device(way: int, unit_there: list[torch.Tensor] = unit_there, keep: int = keep) -> Found:
            return with_torch(unit_there[way], unit_there[1 - way], keep)

        rivals = {"faiss IndexFlatIP": flat, "faiss, normalising and adding included": prepared} | (
            {"torch topk": on_device} if device.type == "cuda" else {"numpy": dense}
        )
        programs: dict[str, Callable[[], Found]] = {
            name: (lambda search=search: mined(search)) if mining else (lambda search=search: search(0))
            for name, search in {"xstilts": ours, **rivals}.items()
        }
        shape = f"{num_queries:,} x {num_candidates:,} x {width}"
        case = f"margin mining, both directions, {shape}" if mining else f"{keep} nearest of {shape}"
        row, found = measure(case, programs.pop("xstilts"), programs, device, asked.repeats)
        row["same"] = {name: difference(found["xstilts"], found[name]) for name in programs}
        print(row["same"])
        rows.append(row)
    result = document(
        "knn",
        "Exact nearest neighbours by cosine in float32, and mining by ratio margin",
        f"python benchmarks/knn.py --device {asked.device} --candidates {asked.candidates} --pairs {asked.pairs} "
        f"--repeats {asked.repeats} --save",
        device,
        ("torch", "numpy", "faiss-cpu"),
        rows,
        load,
        peak_memory_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )
    if asked.save:
        save(result, device)


if __name__ == "__main__":
    main()
