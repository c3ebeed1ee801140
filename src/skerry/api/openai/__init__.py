"""The OpenAI protocol: models, embeddings, completions, chat."""

from __future__ import annotations

from skerry.api.openai import chat, completions, embeddings, models

ROUTES = [*models.ROUTES, *embeddings.ROUTES, *completions.ROUTES, *chat.ROUTES]
