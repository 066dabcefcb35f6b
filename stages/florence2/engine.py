"""Encode once, ask many: a queue of requests about images, answered from one encoding of each.

The decoding backend is transformers' `generate`, given our own encoder outputs.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from schemas.boxes import BINS
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.grammar import Answer, parse_answer
from stages.florence2.prompts import TASKS, About, Prompt, Task, build_prompt
from stages.florence2.scores import TokenScores

SMALL = 20_000_000
"""Parameters up to which threads cost more than they give: they wait for one another at each of
the many short operations, and for ever on a core that something else is using."""
POSITIONS_AT_ONCE = 512
"""Answer positions whose logits exist at the same time: 512 of 51,000 floats are 100 MiB."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How answers are sought; `max_new_tokens` per task."""

    max_new_tokens: Mapping[Task, int]
    num_beams: int = 1
    no_repeat_ngram_size: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A task asked of one image, an index into the images of the run.

    `about` is what a task with an input asks about. `parents` say which labels those are, for
    whoever reads the result; the engine does not look at them.
    """

    image: int
    task: Task
    about: About = None
    parents: tuple[Hashable, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """`tokens` are the generated ones up to and including `</s>`; `scores` are aligned to them."""

    request: Request
    prompt: Prompt
    tokens: tuple[int, ...]
    answer: Answer
    scores: TokenScores


FollowUp = Callable[[Result], Iterable[Request]]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """torch's threads on the CPU while this lasts; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Engine:
    """Answers requests in an order and in batches of its own; neither changes an answer."""

    def __init__(self, checkpoint: Checkpoint, decoding: Decoding, batch_size: int = 8) -> None:
        self.checkpoint = checkpoint
        self.decoding = decoding
        self.batch_size = batch_size
        self._thread_count = 1 if checkpoint.parameters <= SMALL else None

    @torch.inference_mode()
    def run(
        self,
        images: Sequence[Image.Image],
        requests: Iterable[Request],
        follow_up: FollowUp = lambda result: (),
    ) -> list[Result]:
        """All results, those of the requests that `follow_up` makes of a result included.

        Each RGB image is encoded once, when first asked about, and forgotten when no request
        about it is left. `images` may make an image only then, as it does a tile; a request that
        follows from a result may be about any of them.
        """
        with _threads(self._thread_count):
            return list(self._results(images, requests, follow_up))

    def _results(
        self, images: Sequence[Image.Image], requests: Iterable[Request], follow_up: FollowUp
    ) -> Iterator[Result]:
        queue = list(requests)
        features: dict[int, torch.Tensor] = {}
        while queue:
            batch = self._take_batch(queue)
            for index in {request.image for request in batch} - features.keys():
                features[index] = self._encode_image(images[index])
            results = self._answer(batch, [features[request.image] for request in batch])
            yield from results
            # First in the queue, so that an image is done with, and its features freed, early.
            queue[:0] = [request for result in results for request in follow_up(result)]
            waiting = Counter(request.image for request in queue)
            features = {index: kept for index, kept in features.items() if waiting[index]}

    def _take_batch(self, queue: list[Request]) -> list[Request]:
        """The first request and the next of its task: alike in length and in limit."""
        batch = [r for r in queue if r.task == queue[0].task][: self.batch_size]
        taken = set(map(id, batch))
        queue[:] = [request for request in queue if id(request) not in taken]
        return batch

    def _encode_image(self, image: Image.Image) -> torch.Tensor:
        """Shape (image tokens, width)."""
        ours = self.checkpoint
        pixels = ours.image_processor(images=image, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(ours.device, ours.model.dtype)
        features: torch.Tensor = ours.model.get_image_features(pixels).pooler_output[0]
        return features

    def _answer(self, batch: Sequence[Request], features: Sequence[torch.Tensor]) -> list[Result]:
        task, limit = batch[0].task, self._limit(batch[0].task)
        room = self.checkpoint.max_positions - len(features[0])
        vocabulary = self.checkpoint.vocabulary
        prompts = [build_prompt(r.task, vocabulary, room, r.about) for r in batch]
        hidden, mask = self._encode_prompts(prompts, features)
        answers = self._decode(hidden, mask, limit)
        scores = self._score(hidden, mask, answers)
        return [
            Result(
                request, prompt, tuple(tokens),
                parse_answer(tokens, TASKS[task].output, vocabulary, limit), scored,
            )
            for request, prompt, tokens, scored in zip(batch, prompts, answers, scores, strict=True)
        ]  # fmt: skip

    def _limit(self, task: Task) -> int:
        return min(self.decoding.max_new_tokens[task], self.checkpoint.max_positions - 1)

    def _encode_prompts(
        self, prompts: Sequence[Prompt], features: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encoder states (n, tokens, width) and their mask; padding stands at the right.

        Positions are absolute, so padding at the left would shift every prompt.
        """
        ours = self.checkpoint
        longest = max(len(prompt.ids) for prompt in prompts)
        pad = ours.vocabulary.pad
        ids = [[*p.ids, *[pad] * (longest - len(p.ids))] for p in prompts]
        lengths = torch.tensor([len(features[0]) + len(prompt.ids) for prompt in prompts])
        words = ours.model.get_input_embeddings()(torch.tensor(ids, device=ours.device))
        embedded = torch.cat([torch.stack(list(features)), words], dim=1)
        mask = (torch.arange(embedded.shape[1]) < lengths[:, None]).long().to(ours.device)
        encoder = ours.model.get_encoder()
        return encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state, mask

    def _decode(self, hidden: torch.Tensor, mask: torch.Tensor, limit: int) -> list[list[int]]:
        """Generated tokens of each row, up to and including `</s>`."""
        sequences = self.checkpoint.model.generate(
            # A fresh object: beam search enlarges the one that it is given.
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=mask,
            generation_config=self._generation_config(limit),
        )
        return [self._up_to_end(row[1:]) for row in sequences.tolist()]

    def _generation_config(self, limit: int) -> GenerationConfig:
        known, decoding = self.checkpoint.vocabulary, self.decoding
        return GenerationConfig(
            do_sample=False,
            num_beams=decoding.num_beams,
            early_stopping=decoding.num_beams > 1,
            length_penalty=1.0,
            no_repeat_ngram_size=decoding.no_repeat_ngram_size,
            max_new_tokens=limit,
            bos_token_id=known.bos,
            pad_token_id=known.pad,
            eos_token_id=known.eos,
            decoder_start_token_id=known.eos,
            forced_bos_token_id=known.bos,
            forced_eos_token_id=known.eos,
        )

    def _up_to_end(self, tokens: list[int]) -> list[int]:
        end = self.checkpoint.vocabulary.eos
        return tokens[: tokens.index(end) + 1] if end in tokens else tokens

    def _score(
        self, hidden: torch.Tensor, mask: torch.Tensor, answers: Sequence[list[int]]
    ) -> list[TokenScores]:
        """One decoder pass over the finished answers, on the same encoder states."""
        known, model = self.checkpoint.vocabulary, self.checkpoint.model
        width = max(len(tokens) for tokens in answers)
        rows = [[known.eos, *t, *[known.pad] * (width - len(t))][:-1] for t in answers]
        states = model.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=mask,
            decoder_input_ids=torch.tensor(rows, device=self.checkpoint.device),
            use_cache=False,
        ).last_hidden_state
        return [
            self._token_scores(states[i, : len(tokens)], tokens) for i, tokens in enumerate(answers)
        ]

    def _token_scores(self, states: torch.Tensor, tokens: list[int]) -> TokenScores:
        known, model = self.checkpoint.vocabulary, self.checkpoint.model
        bins = [known.bin_of(token) is not None for token in tokens]
        places, device = torch.tensor(bins), self.checkpoint.device
        chosen, end, locations = [], [], []
        for first in range(0, len(tokens), POSITIONS_AT_ONCE):
            part = slice(first, first + POSITIONS_AT_ONCE)
            logs = model.lm_head(states[part]).float().log_softmax(dim=-1)
            ids = torch.tensor(tokens[part], device=device)
            chosen.append(logs.gather(1, ids[:, None])[:, 0].cpu())
            end.append(logs[:, known.eos].cpu())
            at_places = logs[places[part].to(device)]
            locations.append(at_places[:, known.first_loc : known.first_loc + BINS].cpu())
        return TokenScores(
            chosen=torch.cat(chosen).numpy(),
            end=torch.cat(end).numpy(),
            location_positions=np.flatnonzero(bins),
            locations=torch.cat(locations).numpy(),
        )
