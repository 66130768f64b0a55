"""Transforms of sentence vectors before retrieval; each keeps shape and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


def centre(vectors: ArrayLike) -> NDArray[np.floating[Any]]:
    """Take the mean vector off: each language centred by its own mean loses what all its sentences share.

    Args:
        vectors: [N, D] the vectors of one language.

    Raises:
        ValueError: for another shape, no vectors, or one that is not finite.
    """
    import numpy as np

    given, exact = _matrix("centre", vectors)
    return (exact - exact.mean(axis=0)).astype(np.result_type(given.dtype, np.float32))


def remove_language_identity(
    vectors: ArrayLike, reference: ArrayLike, *, num_components: int = 1
) -> NDArray[np.floating[Any]]:
    """Project out the first principal directions of a language: LIR of Yang et al. 2021 (arXiv 2109.04727).

    The directions are the first right singular vectors of the language's own matrix, which is not centred, as in
    ``lir.ipynb`` of github.com/ziyi-yang/LIR: there one or two of them, from Wikipedia sentences of the language,
    are taken off its questions and answers, which are not normalised again.

    Args:
        vectors: [N, D] vectors of one language.
        reference: [M, D] vectors of monolingual text of that language; they may be the same.
        num_components: how many directions to take off, r in the paper.

    Raises:
        ValueError: for other shapes, no vectors, one that is not finite, or a count outside 1 to min(M, D).
    """
    import numpy as np

    given, exact = _matrix("language identity", vectors)
    _, language = _matrix("language identity", reference)
    if language.shape[1] != exact.shape[1] or not 1 <= num_components <= min(language.shape):
        raise ValueError(
            "language identity: expected vectors [N, D], a reference [M, D] and 1 to min(M, D) components, got the "
            f"shapes {list(exact.shape)} and {list(language.shape)} and {num_components} components"
        )
    # Eigenvectors of the [D, D] product are the right singular vectors, without a decomposition of [M, D].
    _, directions = np.linalg.eigh(language.T @ language)
    basis = directions[:, -num_components:]  # [D, r], by rising eigenvalue
    return (exact - (exact @ basis) @ basis.T).astype(np.result_type(given.dtype, np.float32))


def whiten(vectors: ArrayLike) -> NDArray[np.floating[Any]]:
    """Make a language's vectors uncorrelated and of unit variance: less their mean, times covariance^(-1/2).

    Whitening of sentence vectors: Su et al. 2021 (arXiv 2103.15316), Huang et al. 2021 (WhiteningBERT, arXiv
    2104.01767). They whiten all sentences together and may turn the axes; here each language has its own mean and
    covariance, so that the root is the symmetric one (ZCA), which leaves the axes of two languages the same.

    A covariance of fewer sentences than dimensions has no inverse, so it is shrunk towards a multiple of the identity
    as Ledoit and Wolf 2004 say (J. Multivariate Analysis 88), by what the vectors themselves tell of its
    error. A direction that still has no variance is left out.

    Args:
        vectors: [N, D] the vectors of one language.

    Raises:
        ValueError: for another shape, no vectors, or one that is not finite.
    """
    import numpy as np

    given, exact = _matrix("whiten", vectors)
    exact = exact - exact.mean(axis=0)
    num_vectors, dimensions = exact.shape
    covariance = exact.T @ exact / num_vectors
    level = np.trace(covariance) / dimensions  # the variance of a direction, on average
    apart = np.square(covariance).sum() - dimensions * level**2  # squared distance from level * identity
    error = (np.square(np.square(exact).sum(axis=1)).mean() - np.square(covariance).sum()) / num_vectors
    share = 1.0 if apart <= error else max(error, 0.0) / apart
    values, axes = np.linalg.eigh(covariance)
    values = (1 - share) * values.clip(min=0) + share * level
    seen = values > values.max() * dimensions * np.finfo(np.float64).eps
    values = np.divide(1.0, np.sqrt(values), out=np.zeros_like(values), where=seen)
    return ((exact @ axes * values) @ axes.T).astype(np.result_type(given.dtype, np.float32))


def _matrix(what: str, vectors: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float64]]:
    import numpy as np

    given = np.asarray(vectors)
    exact = given.astype(np.float64)
    if exact.ndim != 2 or not exact.size:
        raise ValueError(f"{what}: expected vectors [N, D], got the shape {list(exact.shape)}")
    if not np.isfinite(exact).all():
        raise ValueError(f"{what}: a vector is not finite: the encoder's states overflowed")
    return given, exact
