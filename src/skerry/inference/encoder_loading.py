"""Load a text encoder on the engine, device and precision that settings name, or that suit here."""

from __future__ import annotations

from dataclasses import replace

from skerry.config import ModelSettings
from skerry.inference.encoder import Encoder
from skerry.inference.identity import TextModel
from skerry.inference.loading import AUTO, Choice, configured, load_chosen
from skerry.inference.text_selection import best_text_precision, text_candidates
from skerry.metrics import Metrics


def load_encoder(
    model: TextModel, *, settings: ModelSettings, metrics: Metrics | None = None
) -> Encoder:
    """Load an embedding model or a classifier; `auto` is resolved and said in the log.

    Raises ConfigError for what this machine lacks, ModelUnavailable for files that are missing
    or cannot be read. Blocks for about a second, or a few when precisions are measured.
    """
    choice = choose_for_text(model, settings=settings)
    encoder: Encoder = load_chosen("encoders", choice, model, settings=settings, metrics=metrics)
    return encoder


def choose_for_text(model: TextModel, *, settings: ModelSettings) -> Choice:
    """Resolve `auto` in `settings` for `model` on this CPU; may measure, once per CPU."""
    asked = configured(settings)
    if asked.precision != AUTO:
        return asked
    if text_candidates(model, engine=asked.engine) == ["fp32"]:
        return replace(asked, precision="fp32", reason="no other precision is faster here")
    best = best_text_precision(model, engine=asked.engine, threads=settings.threads).best
    reason = f"fastest here of those near fp32, {best.latency_ms:.1f} ms a text"
    return replace(asked, precision=best.precision, reason=reason)
