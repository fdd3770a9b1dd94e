"""The samples of a config's loaders as they are drawn."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from torch import Tensor

from ..datasets.token_clips import TokenClips
from ..datasets.token_store import TokenStore
from ..datasets.transforms import DecodeClips, SampleClips, StoredTokens
from ..datasets.video_list import MediaList, VideoList
from ..evaluation.token_pictures import decode_tokens
from ..models.pretrainer import Pretrainer
from ..models.tokenizers import Tokenizer, load_tokenizer
from ..registry import MODELS
from ..structures import Clips
from ..utils.checksum import checksum_of
from ..visualization import colour_ids, pca_colours, shade, spread_cells, to_frames
from ..visualization.panels import Panels
from .loaded_batch import LoadedBatch, build_loaders, drawn_keys, load_batch

TOKEN_PIXELS = 8
"""Side of a token where neither frames nor a decoder say how large it is."""
NAME_LETTERS = 26


class Browser:
    """Loads what a config's loader gives, and what a ``Pretrainer`` makes of it before it learns.

    Args:
        cfg: the config; its default scope is set.
        which: loader: 'train', 'val' or 'test'.
        tokenizer: file of the tokenizer that decodes tokens, where the model has none itself.

    Raises:
        ValueError: if there is no such loader, or another tokenizer has made a store's tokens.
        FileNotFoundError: if there is no such file.
    """

    def __init__(self, cfg: Config, which: str, tokenizer: str | None = None) -> None:
        self.cfg, self.which = cfg, which
        self.seed = (cfg.get('randomness') or {}).get('seed') or 0
        self.loaders = build_loaders(cfg, which, self.seed)
        self.decoder = None if tokenizer is None else load_tokenizer(tokenizer)
        for store in self._stores() if self.decoder else ():
            store.check(dict(tokenizer=checksum_of(self.decoder)))
        self.model: Pretrainer | None = None
        if which == 'train' and issubclass(MODELS.get(cfg.model.type), Pretrainer):
            self.model = MODELS.build(cfg.model).train()  # in eval mode masks are not those of an iteration

    def samples(self, stream: str, iteration: int, num: int) -> Panels:
        """The first samples of the batch of an iteration: frames or tokens of each view, and how they are masked.

        Returns:
            A table with a row for each sample.

        Raises:
            ValueError: as the model and the data set.
        """
        loader = self.loaders[stream]
        loaded = load_batch(loader, drawn_keys(self.cfg, self.which, loader, iteration))
        if self.model is None:
            views = self._plain(loaded)
        else:
            views = self._masked(loaded, stream, iteration, num)
        names = getattr(loader.dataset, 'metainfo', {}).get('classes', ())
        return {_name_of(note, names, self.which): rows for note, rows in zip(loaded.notes[:num], views)}

    def strips(self, stream: str, iteration: int, num: int, num_frames: int) -> Panels:
        """Equally spaced frames of the whole videos of the first samples of a batch, with their labels.

        Returns:
            A table with a row for each video.

        Raises:
            ValueError: for a data set of images, or tokens without a decoder.
            BrokenFileError: if a video cannot be read.
        """
        loader = self.loaders[stream]
        dataset, table = loader.dataset, {}
        names = getattr(dataset, 'metainfo', {}).get('classes', ())
        for index, draw in drawn_keys(self.cfg, self.which, loader, iteration)[:num]:
            if isinstance(dataset, VideoList):
                note = dataset.describe(index)
                results = DecodeClips()(SampleClips(num_frames, strategy='segments', test_mode=True)(dict(note)))
                note, frames = dict(note, path=note['filename'], draw=draw), np.stack(results['imgs'])
            elif isinstance(dataset, TokenClips):
                note, frames = self._stored_strip(dataset, index, num_frames)
                note['draw'] = draw
            else:
                raise ValueError(f'--strip shows videos, and the stream {stream!r} is read from a {type(dataset).__name__}')
            table[_name_of(note, names, self.which)] = [('', frames)]
        return table

    def _stored_strip(self, dataset: TokenClips, index: int, num_frames: int) -> tuple[dict, np.ndarray]:
        if self.decoder is None:
            raise ValueError('the videos are read from a token store: say with --tokenizer which file decodes them')
        sample = dataset[index]['data_samples']
        moments = ((np.arange(num_frames) + 0.5) * sample.total_frames / num_frames).astype(np.int64)
        tokens = dataset.views[0].read(sample.name, moments)
        note = dict(path=sample.name) | (dict(label=int(sample.gt_label)) if 'gt_label' in sample else {})
        with torch.inference_mode():
            return note, to_frames(decode_tokens(self.decoder, tokens[None])[0])

    def _plain(self, loaded: LoadedBatch) -> list[list[tuple[str, np.ndarray]]]:
        """Without a model that masks: the views of each sample."""
        found = []
        for number in range(len(loaded.notes)):
            views = []
            if 'inputs' in loaded.batch:
                views += [('frames', to_frames(clip)) for clip in loaded.batch['inputs'][number]]
            elif 'tokens' in loaded.batch:
                for clip in loaded.batch['tokens'][number]:
                    views += self._token_rows(clip, self.decoder, self._stores()[0].manifest['vocab_size'], None)
            found.append(_numbered(views))
        return found

    @torch.inference_mode()
    def _masked(self, loaded: LoadedBatch, stream: str, iteration: int, num: int) -> list[list[tuple[str, np.ndarray]]]:
        """As the model is given the samples in a step: frames, tokens, and the same with what is hidden covered."""
        hub = MessageHub.get_current_instance()
        hub.update_info('seed', self.seed)
        hub.update_info('iter', iteration)
        clips = self.model.data_preprocessor({stream: loaded.batch})['inputs'][stream]
        mask = self.model.draw_mask(stream, clips)  # of the whole batch, as its masks are drawn one after the other
        batch_size, found = len(loaded.notes), []
        for number in range(min(num, batch_size)):
            rows = []
            for view in range(clips.num_views):
                place = slice(view * batch_size + number, view * batch_size + number + 1)
                rows += self._rows(stream, _only(clips, place), mask[place])
            found.append(_numbered(rows))
        return found

    def _rows(self, stream: str, clip: Clips, mask: Tensor) -> list[tuple[str, np.ndarray]]:
        frames = None if clip.frames is None else to_frames(clip.frames[0])
        rows = [] if frames is None else [('frames', frames)]
        for name, target in self.model.tokenize(stream, clip, mask, everywhere=True).items():
            if target.tokens is not None:
                decoder = dict(self.model.tokenizers).get(name, self.decoder)
                rows += self._token_rows(target.tokens[0], decoder, self.model.vocab_size_of(name), frames,
                                         name if len(self.model.tokenizers) > 1 else '')
        shown = rows[-1][1] if frames is None else frames
        return [*rows, (f'masked, {(mask != 0).float().mean():.0%}', shade(shown, mask[0].numpy()))]

    def _token_rows(self, tokens: Tensor, decoder: Tokenizer | None, vocab_size: int | None, frames: np.ndarray | None,
                    name: str = '') -> list[tuple[str, np.ndarray]]:
        """Tokens as colours and, where they can be decoded, as pictures."""
        pictures = _decoded(decoder, tokens)
        like = pictures if frames is None else frames
        t, h, w = tokens.shape[:3]
        size = (t, TOKEN_PIXELS * h, TOKEN_PIXELS * w) if like is None else like.shape[:3]
        cells = pca_colours([tokens])[0][0] if tokens.ndim == 4 else colour_ids(tokens.numpy(), vocab_size)
        rows = [(f'{name} tokens'.strip(), spread_cells(cells, size))]
        return rows if pictures is None else [*rows, (f'{name} decoded'.strip(), pictures)]

    def _stores(self) -> list[TokenStore]:
        """Of all streams that read tokens."""
        found = []
        for loader in self.loaders.values():
            dataset = loader.dataset
            if isinstance(dataset, MediaList):
                found += [transform.store for transform in dataset.transforms if isinstance(transform, StoredTokens)]
            else:
                found += getattr(dataset, 'views', [])
        return found


def _decoded(decoder: Tokenizer | None, tokens: Tensor) -> np.ndarray | None:
    try:
        return None if decoder is None else to_frames(decode_tokens(decoder, tokens[None])[0])
    except NotImplementedError:  # a tokenizer may be without a decoder
        return None


def _only(clips: Clips, place: slice) -> Clips:
    parts = (clips.frames, clips.pixels, clips.tokens, clips.pad)
    return Clips(*(None if part is None else part[place] for part in parts))


def _numbered(rows: list[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    """Number the views, where there are several."""
    first = rows[0][0]
    if [caption for caption, _ in rows].count(first) == 1:
        return rows
    view, found = 0, []
    for caption, frames in rows:
        view += caption == first
        found.append((f'view {view}: {caption}', frames))
    return found


def _name_of(note: dict, names: Sequence[str], which: str) -> str:
    """The name of a sample, its class where it has one, and the number of the draw or entry."""
    path = Path(note.get('path', '')).name
    lines = [path if len(path) <= NAME_LETTERS else f'...{path[-NAME_LETTERS:]}']
    if 'label' in note:
        label = note['label']
        lines.append(names[label] if label < len(names) else f'class {label}')
    return '\n'.join([*lines, f'{"draw" if which == "train" else "entry"} {note["draw"]}'])
