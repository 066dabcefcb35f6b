"""Ids of Florence-2's tokens, looked up in the checkpoint's tokenizer, and words ↔ ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.boxes import BINS
from stages.errors import StageError


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`first_loc` is the id of `<loc_0>`; the others follow it without a gap."""

    bos: int
    pad: int
    eos: int
    first_loc: int
    poly: int
    end_poly: int
    sep: int
    and_: int
    size: int
    special: frozenset[int] = field(repr=False)
    """Every id that is no piece of text, locations included."""
    _words: Any = field(repr=False)
    """The tokenizer without its added tokens: no text can become one of them."""

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        """Of a fast tokenizer of transformers; StageError where it lacks Florence-2's tokens."""
        from tokenizers import Tokenizer

        backend = tokenizer.backend_tokenizer
        words = Tokenizer(backend.model)
        if backend.normalizer is not None:
            words.normalizer = backend.normalizer
        words.pre_tokenizer, words.decoder = backend.pre_tokenizer, backend.decoder
        return cls(
            bos=_id(backend, "<s>"),
            pad=_id(backend, "<pad>"),
            eos=_id(backend, "</s>"),
            first_loc=_first_location(backend),
            poly=_id(backend, "<poly>"),
            end_poly=_id(backend, "</poly>"),
            sep=_id(backend, "<sep>"),
            and_=_id(backend, "<and>"),
            size=backend.get_vocab_size(with_added_tokens=True),
            special=frozenset(backend.get_added_tokens_decoder()) | _basic(backend),
            _words=words,
        )

    def generation_ids(self) -> dict[str, int]:
        """The tokens by which answers begin and end, as a `GenerationConfig` names them."""
        return {
            "bos_token_id": self.bos,
            "pad_token_id": self.pad,
            "eos_token_id": self.eos,
            "decoder_start_token_id": self.eos,
            "forced_bos_token_id": self.bos,
        }

    def bin_of(self, token: int) -> int | None:
        """0..999 for a location token, None for any other."""
        bin = token - self.first_loc
        return bin if 0 <= bin < BINS else None

    def is_text(self, token: int) -> bool:
        """False for special tokens and for rows of a padded embedding that name no token."""
        return 0 <= token < self.size and token not in self.special

    def words_to_ids(self, text: str) -> list[int]:
        """Ids of plain words: `</s>` or `<loc_5>` in them stay the characters they are."""
        ids: list[int] = self._words.encode(text, add_special_tokens=False).ids
        return [token for token in ids if token not in self.special]

    def phrases_to_ids(self, before: str, phrases: Sequence[str], after: str) -> list[int]:
        """Ids of plain words, with ` <and> ` between one phrase and the next."""
        last = len(phrases) - 1
        ids: list[int] = []
        for i, phrase in enumerate(phrases):
            text = (" " if i else before) + phrase + (after if i == last else " ")
            ids += [*self.words_to_ids(text), *([self.and_] if i < last else [])]
        return ids

    def ids_to_words(self, tokens: Sequence[int]) -> str:
        """Text of ids that are all text, decoded at once so that no character is torn apart."""
        text: str = self._words.decode(list(tokens), skip_special_tokens=False)
        return text

    def ids_to_transcript(self, tokens: Sequence[int]) -> str:
        """What the model wrote, special tokens spelled out, for a person to read."""
        return "".join(self._pieces(tokens))

    def _pieces(self, tokens: Sequence[int]) -> list[str]:
        names = {self.bos: "<s>", self.pad: "<pad>", self.eos: "</s>", self.sep: "<sep>"}
        names |= {self.poly: "<poly>", self.end_poly: "</poly>"}
        pieces: list[str] = []
        text: list[int] = []
        for token in tokens:
            if self.is_text(token):
                text.append(token)
                continue
            pieces.append(self.ids_to_words(text))
            text = []
            bin = self.bin_of(token)
            pieces.append(f"<loc_{bin}>" if bin is not None else names.get(token, f"<{token}>"))
        return [*pieces, self.ids_to_words(text)]


def _id(backend: Any, token: str) -> int:
    found: int | None = backend.token_to_id(token)
    if found is None:
        raise StageError(
            f"the tokenizer has no {token}: this is not a Florence-2 checkpoint, or its tokenizer "
            "files are not the ones it was trained with"
        )
    return found


def _first_location(backend: Any) -> int:
    first = _id(backend, "<loc_0>")
    ids = [_id(backend, f"<loc_{bin}>") for bin in range(BINS)]
    if ids != list(range(first, first + BINS)):
        raise StageError(
            "the tokenizer's location tokens <loc_0> to <loc_999> are not in one unbroken row, as "
            "Florence-2 has them: use its own tokenizer files"
        )
    return first


def _basic(backend: Any) -> frozenset[int]:
    found = (backend.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>"))
    return frozenset(token for token in found if token is not None)
