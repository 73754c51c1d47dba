"""Embeddings in the plane, and in clusters; both by scikit-learn, which is an extra."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import numpy as np

from encoder.retrieval import normalize
from training.errors import CootmartError

PERPLEXITY = 30.0
FEWEST = 8  # points; of fewer a picture of neighbours means nothing


def require_sklearn(part: str = "manifold") -> ModuleType:
    """The module ``part`` of scikit-learn.

    Raises:
        CootmartError: it is not installed.
    """
    try:
        return import_module(f"sklearn.{part}")
    except ImportError as error:
        raise CootmartError(
            f"scikit-learn cannot be imported ({error}), but draws the map of the embeddings; "
            "install it with: pip install 'cootmart[report]'"
        ) from None


def tsne(x: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places (n, 2) float32 of the rows of ``x`` (n, D) by t-SNE of their directions.

    Raises:
        CootmartError: scikit-learn is missing, there are too few rows, or all of them are the same.
    """
    manifold = require_sklearn()
    if len(x) < FEWEST:
        raise CootmartError(f"t-SNE: found {len(x)} points, expected at least {FEWEST}")
    x = normalize(x)
    if np.allclose(x, x[0], atol=1e-6):
        raise CootmartError("t-SNE: all embeddings are the same; was the model trained?")
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    model = manifold.TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return model.fit_transform(x).astype(np.float32)


def cluster(x: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Cluster (n,) int64 of each row of ``x`` (n, D) by k-means of their directions; cluster 0 is the largest.

    Raises:
        CootmartError: scikit-learn is missing.
    """
    k_means = require_sklearn("cluster").KMeans(min(count, len(x)), n_init=10, random_state=seed)
    labels = k_means.fit_predict(normalize(x))
    order = np.argsort(-np.bincount(labels, minlength=k_means.n_clusters), kind="stable")
    return np.argsort(order)[labels].astype(np.int64)
