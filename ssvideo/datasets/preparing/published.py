"""How many videos and classes a data set is known to have."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Counts to hold against what was found.

    Args:
        num_classes: None for a set without labels.
        counts: by who says so, and by list, the number of videos. ``RELEASE`` is the set as it came out, which complete
            annotations name to the last video.
    """

    num_classes: int | None
    counts: dict[str, dict[str, int]]


RELEASE = 'release'
VIMPAC = 'VIMPAC'  # arXiv:2106.11250, Table 12; UCF101 and HMDB51: split 1
BEVT = 'BEVT, about'  # arXiv:2112.01529, Sec. 4.1

PUBLISHED = dict(
    # release: the first one, of 2017; it has also been copied with some videos taken out
    kinetics400=Published(400, {RELEASE: dict(train=246_535, val=19_907), VIMPAC: dict(train=205_418, val=17_686),
                                BEVT: dict(train=240_000, val=20_000)}),
    kinetics600=Published(600, {}),
    kinetics700=Published(700, {}),
    ssv2=Published(174, {RELEASE: dict(train=168_913, val=24_777), VIMPAC: dict(train=168_913, val=24_777),
                         BEVT: dict(train=160_000, val=20_000)}),
    diving48=Published(48, {RELEASE: dict(train=15_027, test=1_970), VIMPAC: dict(train=15_027, test=1_970),
                            BEVT: dict(train=15_000, test=2_000)}),
    ucf101=Published(101, {
        RELEASE: dict(train_1=9_537, test_1=3_783, train_2=9_586, test_2=3_734, train_3=9_624, test_3=3_696),
        VIMPAC: dict(train_1=9_537, test_1=3_783)}),
    hmdb51=Published(51, {
        RELEASE: {f'{part}_{split}': count for split in (1, 2, 3) for part, count in (('train', 3_570), ('test', 1_530))},
        VIMPAC: dict(train_1=3_570, test_1=1_530)}),
    howto100m=Published(None, {VIMPAC: dict(train=1_238_791)}),
    imagenet=Published(1000, {RELEASE: dict(train=1_281_167, val=50_000)}))  # ILSVRC, arXiv:1409.0575
