"""How well labels can be read off a model's vectors, and how alike two data sets look to it; no training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

VERSION = 1
FOLDS = 5
MOMENTS = "moments.parquet"
"""The file beside a training's weights that has the squared gradients of its layers (``engine.moments``)."""
_PENALTIES = tuple(10.0**power for power in range(-6, 3))  # of a ridge, in units of the mean squared singular value
_WIDEST = (-9.0, 6.0)  # decades of alpha / beta, in units of the largest squared singular value


def logme(vectors: ArrayLike, labels: ArrayLike) -> float:
    """Log of the maximum evidence of labels given vectors, per vector: LogME (You et al. 2021, arXiv 2102.11005).

    A Bayesian linear model ``y = F w + e`` with w ~ N(0, 1 / alpha) and e ~ N(0, 1 / beta), both chosen so that the
    evidence is highest, for each class as 0 and 1; the mean over classes, in nats. For a given t = alpha / beta the
    best beta is n / Q(t) with ``Q(t) = |y|^2 - sum_i z_i^2 s_i / (s_i + t)``, z the coordinates of y along the left
    singular vectors and s the squared singular values, so one number is searched, on a grid and on a finer one about
    its best: the published fixed-point iteration may stop before its end. t is kept within 10^-9 and 10^6 of the
    largest s, without which vectors that fit their labels exactly have no finite evidence.

    Args:
        vectors: [N, D].
        labels: [N], of two classes or more.

    Raises:
        ValueError: for other shapes, a vector that is not finite or all of them 0, or one class.
    """
    import numpy as np

    features, codes, num_classes = _checked(vectors, labels)
    targets = np.eye(num_classes)[codes]  # [N, C]
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    seen = singular > singular[0] * max(features.shape) * np.finfo(np.float64).eps
    squares = singular[seen] ** 2  # [r]
    along = (left[:, seen].T @ targets) ** 2  # [r, C]
    size = len(features)

    def evidence(exponents: NDArray[Any], number: int) -> NDArray[Any]:
        """The log evidences [G] of a class at exponents of t."""
        t = squares[0] * 10.0 ** exponents[:, None]
        share = t / (squares + t)  # [G, r]
        own = along[:, number]
        quality = max(targets[:, number].sum() - own.sum(), 0.0) + share @ own
        fit = np.log(np.maximum(quality, np.finfo(np.float64).tiny) / size)
        return -size / 2 * (fit + 1 + np.log(2 * np.pi)) + 0.5 * np.log(share).sum(axis=1)

    grid = np.linspace(*_WIDEST, 301)
    near = np.linspace(-1, 1, 201) * (grid[1] - grid[0])
    best = [grid[evidence(grid, number).argmax()] for number in range(num_classes)]
    found = [evidence(np.clip(at + near, *_WIDEST), number).max() for number, at in enumerate(best)]
    return float(np.mean(found) / size)


def probe_accuracy(vectors: ArrayLike, labels: ArrayLike, groups: ArrayLike, *, folds: int = FOLDS) -> float:
    """Share of labels that a linear classifier of the other folds gets right: ridge on classes as 0 and 1.

    In every fold the penalty is that of the lowest leave-one-out error on the rows that it is fitted on, which the
    fitted rows' leverages give without another fit; the rows that are judged choose nothing.

    Args:
        vectors: [N, D].
        labels: [N], of two classes or more.
        groups: [N] whole numbers; rows of one group, such as the choices of a question, are in one fold.
        folds: how many; group numbers modulo it, after they are numbered in rising order.

    Raises:
        ValueError: for other shapes, a vector that is not finite, one class, or fewer groups than folds.
    """
    import numpy as np

    features, codes, num_classes = _checked(vectors, labels)
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(numbers) != len(features) or not 2 <= folds <= numbers.max() + 1:
        raise ValueError(f"probe: expected a group for each of {len(features)} vectors, and {folds} groups or more")
    targets = np.eye(num_classes)[codes]
    right = 0
    for fold in range(folds):
        held = numbers % folds == fold
        middle, mean = features[~held].mean(axis=0), targets[~held].mean(axis=0)
        left, singular, back = np.linalg.svd(features[~held] - middle, full_matrices=False)
        squares, size = singular**2, len(left)
        fitted = left.T @ (targets[~held] - mean)  # [r, C]
        errors, weights = [], []
        for penalty in _PENALTIES:
            shrunk = squares / (squares + penalty * max(squares.mean(), np.finfo(np.float64).tiny))  # [r]
            residual = targets[~held] - mean - left @ (shrunk[:, None] * fitted)
            leverage = 1 / size + (left**2) @ shrunk
            errors.append(np.square(residual / np.maximum(1 - leverage, 1e-9)[:, None]).mean())
            inverse = np.divide(shrunk, singular, out=np.zeros_like(shrunk), where=singular > 0)
            weights.append(back.T @ (inverse[:, None] * fitted))
        predicted = (features[held] - middle) @ weights[int(np.argmin(errors))] + mean
        right += int((predicted.argmax(axis=1) == codes[held]).sum())
    return right / len(features)


def cosine(one: ArrayLike, other: ArrayLike) -> float:
    """The cosine of two vectors [D], 0 where either is 0; of two matrices [L, D] the mean over rows.

    Raises:
        ValueError: for two shapes.
    """
    import numpy as np

    first, second = (np.atleast_2d(np.asarray(each, dtype=np.float64)) for each in (one, other))
    if first.shape != second.shape:
        raise ValueError(f"cosine: expected vectors of one shape, got {list(first.shape)} and {list(second.shape)}")
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = (first * second).sum(axis=1)
    return float(np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0).mean())


def _checked(vectors: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[Any], int]:
    import numpy as np

    features = np.asarray(vectors, dtype=np.float64)
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    if features.ndim != 2 or not features.size or features.shape[0] != len(codes):
        raise ValueError(f"expected vectors [N, D] and N labels, got {list(features.shape)} and {len(codes)}")
    if not np.isfinite(features).all() or not features.any():
        raise ValueError("a vector is not finite, or all of them are 0")
    if len(names) < 2:
        raise ValueError("expected labels of two classes or more, got one")
    return features, codes, len(names)
