"""Exact frames of a video file, with PyAV."""
from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import av
import numpy as np
from av.stream import Discard
from av.video.reformatter import Interpolation, VideoReformatter

from ..broken import BrokenFileError
from ..file_backends import local_copy
from ..time_limit import stop_if_abandoned
from .h264 import slices_of
from .turned import display_matrix, turned

SEEKABLE_CONTAINERS = {'mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm'}
"""Containers whose index names the key frames. Others are decoded from their start."""

SEEKABLE_CODECS = {'h264', 'hevc', 'vp8', 'vp9', 'libvpx', 'libvpx-vp9', 'av1', 'libdav1d', 'mpeg4', 'mjpeg'}
"""Codecs whose key frames need nothing before them."""

SKIPPING_CODECS = {'h264', 'hevc'}
"""Decoders that leave out, packet by packet, a frame that no other refers to. (dav1d, told so, leaves out others.)"""

FRAME_CACHE_BYTES = 64 * 2**20
"""Where a video must be decoded to know its frames, they are kept up to this size, so as not to decode twice."""

MOST_ELONGATED = 64
"""A stripe longer than this would fill the memory when its short side is resized; a crop would show nothing of it."""


class VideoReader:
    """A video opened once: the time of every frame, and any frame by its number.

    Frame i is the i-th that decoding the file from start to end gives, of the stream that FFmpeg takes for the best,
    turned as the file's display matrix says. Frame times come from the packets, without decoding, where the container
    has an index and each packet a time of its own; reading then starts at the key frame before, and each frame is known
    by its time stamp. Any other file is decoded from its start, which is slower and as exact.

    Args:
        path: a local file, or an address such as ``s3://bucket/a.mp4`` of a file that one of mmengine's file backends gets:
            it is then read from a temporary copy on disk, which is removed with the reader.
        backend_args: of that backend; see :func:`~ssvideo.datasets.file_backends.local_copy`.

    Raises:
        BrokenFileError: if the file cannot be opened, has no video, or, where that is needed, does not decode.
        ValueError: if there is no such backend.
    """

    def __init__(self, path: str, backend_args: Mapping | None = None):
        self.path = str(path)
        self._copies = ExitStack()
        weakref.finalize(self, self._copies.close)
        self.local_path = self._copies.enter_context(local_copy(self.path, backend_args))
        self._reformatter = VideoReformatter()
        self._container = self._demuxed = None
        self._frames: list | None = None  # of a file that had to be decoded, as far as they fit
        with self._errors():
            self._open()
            self.container = self._container.format.name
            self.codec = self._stream.codec_context.name
            self.pixel_format = self._stream.codec_context.pix_fmt
            self.width, self.height = self._stream.codec_context.width, self._stream.codec_context.height  # not turned
            self.stream_index = self._stream.index
            self.tick = float(self._stream.time_base or 0)  # seconds to which the file's time stamps are rounded
            self.seekable = self._index_packets()
            if not self.seekable:
                self._index_by_decoding()
        if not self.num_frames:
            raise BrokenFileError(self.path, 'the video stream holds no frame')

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return len(self.times)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last, which is shown as long as the median frame."""
        steps = np.diff(self.times)
        rate = self._stream.average_rate
        step = float(np.median(steps)) if len(steps) else 1 / float(rate) if rate else 0.04
        return float(self.times[-1]) + step

    def frames(self, indices: Sequence[int], short_side: int | None = None) -> list[np.ndarray]:
        """Decode frames.

        Args:
            indices: numbers of frames, in any order; repeated ones give the same array.
            short_side: resize to this many pixels in the same pass that makes RGB of the decoder's planes, by areas where
                that shrinks, bicubic where it enlarges; no RGB frame of the full size is ever made. None: as in the file.

        Returns:
            A ``(H, W, 3)`` uint8 RGB array for each index.

        Raises:
            IndexError: if an index is not in [0, num_frames).
            BrokenFileError: if a frame, or one it is decoded from, is damaged or missing.
        """
        wanted = sorted({int(i) for i in indices})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < self.num_frames:
            raise IndexError(f'{self.path} has {self.num_frames} frames, asked for {wanted[0]} to {wanted[-1]}')
        with self._errors():
            if self._container is None:
                self._open()
            read = self._read_by_time if self.seekable else self._read_by_count
            found = {i: self._rgb(frame, short_side) for i, frame in read(wanted)}
        return [found[int(i)] for i in indices]

    def is_turned(self) -> bool:
        """Whether the file has its pictures turned or mirrored for showing; told by decoding the first frame."""
        with self._errors():
            if self._frames:
                return display_matrix(self._frames[0]) is not None
            self._open()
            return display_matrix(next(self._decode(self._packets()))) is not None

    def close(self) -> None:
        """Close the file; frame times stay."""
        self._frames = None
        self._end_packets()
        if self._container is not None:
            self._container.close()
            self._container = None

    @contextmanager
    def _errors(self):
        try:
            yield
        except BrokenFileError:
            self.close()
            raise
        except (av.FFmpegError, OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
            self.close()
            reason = getattr(error, 'strerror', None) or str(error)
            raise BrokenFileError(self.path, f'{type(error).__name__}: {reason}') from error

    def _open(self) -> None:
        self.close()
        # 'file:' as a name may hold a colon; the white list as a play list may name other places
        self._container = av.open(f'file:{self.local_path}', metadata_errors='replace',
                                  container_options={'protocol_whitelist': 'file'})
        self._stream = self._container.streams.best('video')
        if self._stream is None:
            raise BrokenFileError(self.path, 'it has no video stream')
        if self._stream.codec_context is None:
            raise BrokenFileError(self.path, 'its video codec is unknown')
        for stream in self._container.streams:
            if stream.index != self._stream.index:
                stream.discard = Discard.all
        # one thread: the loader's workers are the parallelism, and errors then belong to the packet that is sent
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.thread_type = 'NONE'

    def _packets(self) -> Iterator[av.Packet]:
        """The packets from where the container stands; they end when they are asked for anew, or the file is closed."""
        self._end_packets()
        self._demuxed = self._container.demux(self._stream)
        for packet in self._demuxed:
            stop_if_abandoned()
            yield packet

    def _end_packets(self) -> None:
        if self._demuxed is not None:
            self._demuxed.close()  # PyAV's generator loses memory where it is dropped half-way
            self._demuxed = None

    # -- files whose packets tell the frames ------------------------------------------------------------------------

    def _index_packets(self) -> bool:
        """Take the frame times from the packets, if this file's can be relied on."""
        stream = self._stream
        if self.container not in SEEKABLE_CONTAINERS or self.codec not in SEEKABLE_CODECS:
            return False
        packets, self.keys_are_idr = [], self.codec == 'h264'
        for p in self._packets():
            if p.size:
                is_key = p.is_keyframe
                if is_key and self.codec == 'h264':
                    kinds = slices_of(bytes(p), stream.codec_context.extradata)
                    self.keys_are_idr &= kinds == {'IDR'}
                    is_key = 'P' not in kinds  # a refresh by stripes, from which frames come out almost right
                packets.append((p.pts, p.dts, is_key, p.is_discard or p.is_corrupt))
        in_decoding_order = self.container.startswith('mov')  # its index; a Matroska file's is in the order of showing
        if not packets or any(odd or pts is None or (in_decoding_order and dts is None)
                              for pts, dts, _, odd in packets):
            return False
        pts = np.array([p[0] for p in packets], np.int64)
        is_key = np.array([p[2] for p in packets], bool)
        if not is_key[0] or pts[0] != pts.min():  # it begins with frames that cannot be decoded
            return False
        keys = np.flatnonzero(is_key)
        self._pts = np.sort(pts)
        if np.any(np.diff(self._pts) == 0) or np.any(np.diff(pts[keys]) <= 0):
            return False
        self._key_pts = pts[keys]
        # FFmpeg takes the delay of the first frame off the time that an MP4 file is asked for, and looks for a decoding time
        delay = pts[0] - packets[0][1] if in_decoding_order else 0
        self._key_seek = np.array([packets[k][1] for k in keys]) + delay if in_decoding_order else self._key_pts
        self._number = {int(p): i for i, p in enumerate(self._pts)}
        self.times = (self._pts - self._pts[0]) * float(stream.time_base)
        self.first_time = float(self._pts[0] * stream.time_base)  # on the file's clock, which may begin anywhere
        return True

    def _read_by_time(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        frames, at = None, -1  # the running decode and the number of its last frame
        pts = {int(self._pts[i]) for i in wanted}
        for i in wanted:
            key = int(np.searchsorted(self._key_pts, self._pts[i], 'right')) - 1
            if frames is None or self._number[int(self._key_pts[key])] > at:
                frames = self._decode_from(key, pts)
            frame = self._advance(frames, i)
            if frame is None and key:  # a key frame that cannot be begun with: from the start
                frames = self._decode_from(0, pts)
                frame = self._advance(frames, i)
            if frame is None:
                raise BrokenFileError(self.path, f'frame {i} (at {self.times[i]:.3f} s) does not decode')
            at = i
            yield i, frame

    def _advance(self, frames, index: int):
        """Take frames up to number ``index``; None if it is left out."""
        for frame in frames:
            if self._number.get(frame.pts, -1) >= index:
                return frame if frame.pts == self._pts[index] else None
        return None

    def _decode_from(self, key: int, wanted_pts: set[int]):
        self._container.seek(int(self._key_seek[key]), stream=self._stream)
        packets = self._packets()
        first = next(packets)
        if not first.size or not first.is_keyframe or first.pts > self._key_pts[key]:
            self._open()  # the index lies: from the start
            packets = self._packets()
            first = next(packets)
        yield from self._decode([first], wanted_pts)
        yield from self._decode(packets, wanted_pts)

    # -- files that must be decoded ---------------------------------------------------------------------------------

    def _index_by_decoding(self) -> None:
        self._open()
        times, kept, size = [], [], 0
        for frame in self._decode(self._packets()):
            times.append(frame.time)
            size += sum(plane.buffer_size for plane in frame.planes)
            if size <= FRAME_CACHE_BYTES:
                kept.append(frame)
        if any(t is None for t in times) or np.any(np.diff(times) <= 0):  # no clock in the file: the nominal rate
            times = np.arange(len(times)) / float(self._stream.average_rate or 25)
        self.times = np.array(times, np.float64)
        self.times -= self.times[0] if len(times) else 0
        self._frames = kept if len(kept) == len(times) else None

    def _read_by_count(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        if self._frames is not None:
            yield from ((i, self._frames[i]) for i in wanted)
            return
        self._open()
        last, chosen = wanted[-1] if wanted else -1, set(wanted)
        for i, frame in zip(range(last + 1), self._decode(self._packets())):
            if i in chosen:
                yield i, frame

    # -- both -------------------------------------------------------------------------------------------------------

    def _decode(self, packets, wanted_pts: set[int] | None = None):
        """Decode packets; where ``wanted_pts`` is given, leave out other frames that nothing refers to."""
        context = self._stream.codec_context
        skips = wanted_pts is not None and self.codec in SKIPPING_CODECS
        for packet in packets:
            if skips:
                context.skip_frame = 'DEFAULT' if packet.pts in wanted_pts or not packet.size else 'NONREF'
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise BrokenFileError(self.path, f'the frame at {frame.time} s is damaged')
                yield frame

    def _rgb(self, frame, short_side: int | None) -> np.ndarray:
        size = {}
        if short_side is not None:
            shrink = short_side / min(frame.width, frame.height)
            size = dict(width=int(frame.width * shrink + 0.5), height=int(frame.height * shrink + 0.5),
                        interpolation=Interpolation.AREA if shrink < 1 else Interpolation.BICUBIC)
            if max(size['width'], size['height']) > MOST_ELONGATED * short_side:
                raise BrokenFileError(self.path, f'its frames of {frame.width} x {frame.height} are mere stripes')
        rgb = self._reformatter.reformat(frame, format='rgb24', threads=1, **size).to_ndarray()
        shown = turned(rgb, display_matrix(frame))
        if shown is None:
            raise BrokenFileError(self.path, 'its display matrix is not one of right angles')
        return shown
