"""Make one `tokenizer.json` of the tokenizer files in a Hugging Face folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import RobertaProcessing, TemplateProcessing

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import Family
from skerry.models.json_files import MAX_BYTES, read_json, read_json_if_present

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocab.txt"
NEEDED = (
    "Needed: tokenizer.json, or vocab.txt (BERT, MPNet), or vocab.json and merges.txt (RoBERTa). "
    "transformers writes the first: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
)


class _Token(msgspec.Struct):
    content: str


class TokenizerSettings(msgspec.Struct, kw_only=True):
    """`tokenizer_config.json`, as far as it is used."""

    model_max_length: int | float | None = None
    do_lower_case: bool | None = None
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    add_prefix_space: bool = False
    unk_token: str | _Token | None = None
    cls_token: str | _Token | None = None
    sep_token: str | _Token | None = None
    pad_token: str | _Token | None = None
    mask_token: str | _Token | None = None


@dataclass(frozen=True, slots=True)
class TokenizerParts:
    """A tokenizer as the content of a `tokenizer.json`, which neither cuts nor pads."""

    content: str
    max_tokens: int | None
    """Longest input by its settings; None where they give no bound."""
    notes: tuple[str, ...]


def read_tokenizer(folder: Path, *, vocabulary: int, family: Family) -> TokenizerParts:
    """The tokenizer of the model in `folder`, whose ids are below `vocabulary`; ModelInvalid."""
    settings = read_json_if_present(folder / "tokenizer_config.json", TokenizerSettings)
    if family == "mpnet":
        settings = _named_as_mpnet(settings)
    notes: list[str] = []
    content = _content(folder, settings, notes)
    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library raises this very class
        raise ModelInvalid(f"{TOKENIZER_FILE} is not a readable tokenizer: {error}.") from error
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    if not ids or max(ids) >= vocabulary:
        raise ModelInvalid(
            f"The tokenizer gives ids up to {max(ids, default=0)}, but the model has "
            f"{vocabulary} embeddings of tokens."
        )
    return TokenizerParts(content, _bound(settings.model_max_length), tuple(notes))


def _bound(length: float | None) -> int | None:
    """transformers writes 1e30 where it knows no bound."""
    return int(length) if length is not None and 1 <= length < 1 << 31 else None


def _content(folder: Path, settings: TokenizerSettings, notes: list[str]) -> str:
    if (folder / TOKENIZER_FILE).is_file():
        return _without_lengths(folder / TOKENIZER_FILE)
    if (folder / VOCABULARY_FILE).is_file():
        return _word_piece(folder / VOCABULARY_FILE, settings, notes).to_str()
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _byte_pairs(folder, settings).to_str()
    raise ModelInvalid(f"There is no tokenizer in {folder.name}.", remedy=NEEDED)


def _without_lengths(path: Path) -> str:
    """The file as it is, but that it neither cuts nor pads: that is for each request to say.

    Not written by the library: its releases write the same tokenizer in other bytes.
    """
    fields = read_json(path, dict[str, msgspec.Raw])
    fields |= {"truncation": msgspec.Raw(b"null"), "padding": msgspec.Raw(b"null")}
    return msgspec.json.encode(fields).decode()


def _named_as_mpnet(settings: TokenizerSettings) -> TokenizerSettings:
    """MPNet's words are BERT's, and its other tokens are named as RoBERTa's."""
    return msgspec.structs.replace(
        settings,
        cls_token=settings.cls_token or "<s>",
        sep_token=settings.sep_token or "</s>",
        pad_token=settings.pad_token or "<pad>",
        mask_token=settings.mask_token or "<mask>",
    )


def _word_piece(path: Path, settings: TokenizerSettings, notes: list[str]) -> Tokenizer:
    """BERT's: words split into pieces of the vocabulary (Wu et al. 2016)."""
    words = _lines(path)
    vocabulary = {word: index for index, word in enumerate(words)}
    unknown = _text(settings.unk_token, "[UNK]")
    names = [_text(settings.cls_token, "[CLS]"), _text(settings.sep_token, "[SEP]")]
    _require(vocabulary, [unknown, *names], path)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.tokenize_chinese_chars,
        strip_accents=settings.strip_accents,
        lowercase=_lowercase(settings, words, notes),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    begin, end = names
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin}:0 $A:0 {end}:0",
        pair=f"{begin}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(name, vocabulary[name]) for name in names],
    )
    tokenizer.decoder = decoders.WordPiece()
    others = [_text(settings.pad_token, "[PAD]"), _text(settings.mask_token, "[MASK]")]
    tokenizer.add_special_tokens([n for n in (unknown, *names, *others) if n in vocabulary])
    return tokenizer


def _lowercase(settings: TokenizerSettings, words: list[str], notes: list[str]) -> bool:
    """As the settings say; without them, by whether the vocabulary has capitals at all."""
    if settings.do_lower_case is not None:
        return settings.do_lower_case
    lowercase = not any(word != word.lower() for word in words if not word.startswith("["))
    how = "lower case, as its vocabulary has no capitals" if lowercase else "their own case"
    notes.append(f"Without do_lower_case in tokenizer_config.json, texts are read in {how}.")
    return lowercase


def _byte_pairs(folder: Path, settings: TokenizerSettings) -> Tokenizer:
    """RoBERTa's: pairs of bytes merged in the order of `merges.txt` (Radford et al. 2019)."""
    path = folder / "vocab.json"
    vocabulary = read_json(path, dict[str, int])
    begin, end = _text(settings.cls_token, "<s>"), _text(settings.sep_token, "</s>")
    unknown = _text(settings.unk_token, "<unk>")
    _require(vocabulary, [begin, end, unknown], path)
    pairs = [line for line in _lines(folder / "merges.txt") if not line.startswith("#version")]
    merges = [(left, right) for left, _, right in (pair.partition(" ") for pair in pairs) if right]
    try:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown))
    except Exception as error:  # the library raises this very class
        raise ModelInvalid(f"merges.txt does not fit {path.name}: {error}.") from error
    prefix = settings.add_prefix_space
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.post_processor = RobertaProcessing(
        (end, vocabulary[end]), (begin, vocabulary[begin]), add_prefix_space=prefix
    )
    tokenizer.decoder = decoders.ByteLevel()
    pad, mask = _text(settings.pad_token, "<pad>"), _text(settings.mask_token, "<mask>")
    special = [AddedToken(name, lstrip=name == mask) for name in (begin, pad, end, unknown, mask)]
    tokenizer.add_special_tokens([token for token in special if token.content in vocabulary])
    return tokenizer


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelInvalid(f"{path.name} has more than {MAX_BYTES:,} bytes.")
        lines = path.read_text("utf-8").split("\n")
    except OSError as error:
        raise ModelInvalid(f"Cannot read {path.name}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ModelInvalid(f"{path.name} is not UTF-8: {error}.") from error
    return [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def _text(token: str | _Token | None, default: str) -> str:
    if token is None:
        return default
    return token if isinstance(token, str) else token.content


def _require(vocabulary: dict[str, int], tokens: list[str], path: Path) -> None:
    missing = [token for token in tokens if token not in vocabulary]
    if missing:
        raise ModelInvalid(f"{path.name} lacks the token '{missing[0]}'.")
