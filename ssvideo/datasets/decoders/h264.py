"""What an H.264 packet says of itself, without decoding."""
from __future__ import annotations

INTRA = {2, 4, 7, 9}
"""Slice types I and SI, of one slice or of the whole picture: ITU-T H.264, Table 7-6."""


def slices_of(packet: bytes, extradata: bytes | None) -> set[str]:
    """The kinds of slices that a packet holds.

    Args:
        packet: of a video stream in MP4 or Matroska.
        extradata: of the stream, an AVCDecoderConfigurationRecord; of another form nothing is told.

    Returns:
        'IDR': nothing refers to what came before; 'I': it refers to nothing itself; 'P': any other.

    Source: ITU-T H.264, Sec. 7.3.1 and 7.3.3; ISO/IEC 14496-15, Sec. 5.2.
    """
    if not extradata or extradata[0] != 1:
        return set()
    kinds, width, at = set(), (extradata[4] & 3) + 1, 0
    while at + width < len(packet):
        kind = packet[at + width] & 31
        if kind == 5:
            kinds.add('IDR')
        elif kind == 1:
            kinds.add('I' if _slice_type(packet[at + width + 1:at + width + 17]) in INTRA else 'P')
        at += width + int.from_bytes(packet[at:at + width], 'big')
    return kinds


def _slice_type(header: bytes) -> int:
    """The second number of a slice header; both are Exp-Golomb codes: n zeros, then a binary number of n + 1 digits."""
    bits = ''.join(f'{byte:08b}' for byte in header.replace(b'\0\0\3', b'\0\0'))  # the 3 is no part of the header
    for _ in range(2):
        zeros = len(bits) - len(bits.lstrip('0'))
        number, bits = bits[zeros:2 * zeros + 1], bits[2 * zeros + 1:]
    return int(number or '0', 2) - 1
