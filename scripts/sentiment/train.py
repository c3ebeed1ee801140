"""Train the default classifier's head: `python scripts/sentiment/train.py DATA --model FOLDER`.

DATA holds `sentiment/` and `sentiment-uci/` (said how to get when missing); FOLDER the
`model.safetensors` and `tokenizer.json` of all-MiniLM-L6-v2. Needs torch, safetensors, tokenizers
and vaderSentiment beside numpy; the product needs none of this. Prints the tables of the card.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import lexicon
import numpy as np
import torch
from augment import made_up
from measures import (
    TABLE,
    Measured,
    best_temperature,
    confusion_table,
    measure,
    softmax,
)
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from texts import UCI_DOMAINS, VADER_DOMAINS, Split, Text, read_texts, split
from tokenizers import Tokenizer
from training import Classifier, Recipe, Tokenized, lower_states, predict, targets, train

MADE_UP_EACH, MADE_UP_SEED = 250, 1
OUTPUT = Path(__file__).parents[2] / "src/skerry/models/data/sentiment.safetensors"


@dataclass(slots=True)
class Material:
    """Everything a run reads: texts, their states after the frozen layers, MiniLM's tensors."""

    texts: list[Text]
    made_up: list[Text]
    states: Tokenized
    weights: dict[str, NDArray[np.float32]]

    def rows(self, texts: list[Text]) -> list[int]:
        """Where the states of these texts are."""
        place = {id(text): at for at, text in enumerate([*self.texts, *self.made_up])}
        return [place[id(text)] for text in texts]


def main() -> None:
    """Train with one domain held out, or measure each held out in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--held-out", default="tweets", choices=[*VADER_DOMAINS, *UCI_DOMAINS])
    parser.add_argument("--each", action="store_true", help="hold out each domain, write nothing")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    recipe = Recipe()
    material = read_material(arguments.data, arguments.model, recipe)
    for domain in VADER_DOMAINS if arguments.each else [arguments.held_out]:
        parts = split(material.texts, held_out=domain, seed=recipe.seed)
        model = fit(material, parts, recipe)
        temperature = report(material, parts, model, domain=domain)
        if not arguments.each:
            write(model, temperature, arguments.output)


def read_material(data: Path, model: Path, recipe: Recipe) -> Material:
    """Read all texts and run the frozen layers over them once."""
    texts = read_texts(data)
    extra = made_up(seed=MADE_UP_SEED, each=MADE_UP_EACH)
    weights = load_file(model / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    states = lower_states([*texts, *extra], weights, tokenizer, layers=min(recipe.tuned_layers))
    return Material(texts, extra, states, weights)


def fit(material: Material, parts: Split, recipe: Recipe) -> Classifier:
    """Train on the training part and the made-up sentences."""
    torch.manual_seed(recipe.seed)
    model = Classifier(material.weights, recipe)
    wanted = targets([*material.texts, *material.made_up], error=recipe.rating_error)
    chosen = material.rows([*parts.train, *material.made_up])
    for step, loss in enumerate(train(model, material.states, wanted, chosen, recipe)):
        if step % 200 == 0:
            print(f"step {step}: loss {loss:.3f}", flush=True)
    return model


def report(material: Material, parts: Split, model: Classifier, *, domain: str) -> float:
    """Print the card's tables; returns the temperature."""
    logits = predict(model, material.states, material.rows(parts.validation))
    temperature = best_temperature(parts.validation, logits)

    def by_head(what: str, texts: list[Text]) -> Measured:
        found = predict(model, material.states, material.rows(texts))
        return measure(what, texts, softmax(found, temperature=temperature))

    limit = lexicon.best_limit(parts.validation, lexicon.compound(parts.validation))
    print(f"\nHeld out: {domain}. Temperature {temperature:.3f}. VADER's limit {limit:.2f}.\n")
    print(TABLE)
    for what, texts in shown(parts, domain):
        print(by_head(what, texts).row())
        for name, at in (("published limit", lexicon.PUBLISHED), ("best limit", limit)):
            chances = lexicon.chances(lexicon.compound(texts), limit=at)
            print(measure(f"&nbsp; VADER, {name}", texts, chances).row())
    print(f"\n{confusion_table(by_head('test', parts.test))}")
    print(f"\n{confusion_table(by_head(domain, parts.held_out))}\n", flush=True)
    return temperature


def shown(parts: Split, domain: str) -> list[tuple[str, list[Text]]]:
    """Titles and texts of the card's table."""
    domains = sorted({text.domain for text in parts.test})
    per_domain = [(name, [t for t in parts.test if t.domain == name]) for name in domains]
    return [(f"{domain} (held out)", parts.held_out), ("test, all domains", parts.test),
            *((f"test, {name}", texts) for name, texts in per_domain)]  # fmt: skip


def write(model: Classifier, temperature: float, output: Path) -> None:
    """Write changes and head in half precision, the norm before the head folded into it."""
    tensors = {
        name: value.detach().numpy() for layer in model.layers for name, value in layer.changes()
    }
    scale = 1 / np.sqrt(model.norm.running_var.numpy() + model.norm.eps)
    weight = model.head.weight.detach().numpy() * scale
    tensors["head.weight"] = weight
    tensors["head.bias"] = (
        model.head.bias.detach().numpy() - weight @ model.norm.running_mean.numpy()
    )
    tensors["temperature"] = np.array([temperature])
    save_file({name: value.astype(np.float16) for name, value in tensors.items()}, output)
    print(f"{output}: {output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
