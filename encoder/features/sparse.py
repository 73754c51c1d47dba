"""Decoding only what a low frame rate needs, with exactly the pictures that decoding everything would give.

The time stamps of all packets tell which frames are asked for. A group of pictures without one is passed over; in the
others, decoding stops behind the last one asked for, and frames that no other frame is predicted from are left out.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType


class NotAsPlannedError(Exception):
    """The decoder gave something else than the time stamps promise."""


@dataclass(frozen=True)
class Packets:
    """Time stamps of the packets of a stream in the order of the file."""

    pts: np.ndarray
    """int64 (P,)"""
    keys: np.ndarray
    """int64, places of the key frames, the first one 0"""
    starts: np.ndarray
    """float64 (P,), seconds at which frames are shown, in the order of time, the first at 0"""
    end: float
    """seconds at which the last frame ends"""

    @property
    def largest_step(self) -> float:
        """Seconds between frames, at most."""
        return float(np.diff(self.starts).max(initial=0))


@dataclass(frozen=True)
class Plan:
    """What to decode."""

    wanted: dict[int, list[int]]
    """time stamp -> which of the frames asked for it is the nearest to, in the order of time"""
    decode: np.ndarray
    """bool (P,), False where a packet is not needed at all"""
    key_stamps: frozenset[int]
    """of the key frames with which decoding sets in"""
    end: float
    """seconds at which the last frame ends"""


def scan(packets: Iterator[av.Packet], usual: float) -> Packets | None:
    """Read all packets; None where their time stamps are missing, double, or leave doubt.

    Args:
        usual: seconds that the last frame lasts where the file does not tell.
    """
    stamps, keys, latest, length, base = array("q"), array("q"), -math.inf, 0, Fraction(0)
    for packet in packets:
        if not packet.size:
            continue
        if packet.pts is None or packet.is_corrupt or packet.is_discard:
            return None
        if packet.is_keyframe:
            keys.append(len(stamps))
        if packet.pts > latest:
            latest, length, base = packet.pts, packet.duration or 0, packet.time_base
        stamps.append(packet.pts)
    pts = np.array(stamps, np.int64)
    in_order = np.sort(pts)
    if not keys or keys[0] or not np.diff(in_order).all():
        return None
    starts = (in_order - in_order[0]) * float(base)
    end = float(starts[-1]) + (float(length * base) or usual)
    return Packets(pts, np.array(keys, np.int64), starts, end)


def plan(packets: Packets, fps: float, tolerance: float) -> Plan:
    """Find the nearest frame for every time k / fps before the end, and the packets that they need.

    Args:
        tolerance: seconds; the earlier frame is taken up to this much past half-way to the next.
    """
    times = np.arange(int(packets.end * fps) + 2) / fps
    times = times[times <= packets.end - tolerance]
    nearest = np.searchsorted((packets.starts[1:] + packets.starts[:-1]) / 2 + tolerance, times)
    stamps = np.sort(packets.pts)
    wanted: dict[int, list[int]] = {}
    for k, place in enumerate(nearest):
        wanted.setdefault(int(stamps[place]), []).append(k)
    needed = _needed(packets, np.isin(packets.pts, list(wanted)))
    sets_in = [key for key in packets.keys if needed[key] and not (key and needed[key - 1])]
    return Plan(wanted, needed, frozenset(packets.pts[sets_in].tolist()), packets.end)


def _needed(packets: Packets, is_wanted: np.ndarray) -> np.ndarray:
    """Packets to decode, bool (P,): in each group from the key frame to the last one wanted."""
    needed, goes_on = np.zeros(len(is_wanted), bool), False
    edges = [*packets.keys.tolist(), len(is_wanted)]
    for first, stop in zip(reversed(edges[:-1]), reversed(edges[1:]), strict=True):
        wanted = first + np.flatnonzero(is_wanted[first:stop])
        last = stop if goes_on else wanted[-1] + 1 if len(wanted) else first
        needed[first:last] = True
        # pictures that are stored behind a key frame but shown before it need the group before, too
        goes_on = bool((packets.pts[wanted] < packets.pts[first]).any())
    return needed


def decode(
    packets: Iterator[av.Packet], stream: av.VideoStream, plan: Plan
) -> Iterator[tuple[av.VideoFrame, list[int]]]:
    """The frames that ``plan`` wants, each with the numbers k of the times that it is the nearest to.

    Raises:
        NotAsPlannedError: a frame did not come, or not as the packets promised.
    """
    expected = iter(plan.wanted.items())
    for frame in _decoded(packets, stream.codec_context, plan):
        if frame.pts in plan.key_stamps and frame.pict_type != PictureType.I:
            raise NotAsPlannedError("decoding set in at a frame that is predicted from others")
        if frame.pts in plan.wanted:
            stamp, numbers = next(expected, (None, []))
            if frame.pts != stamp:
                raise NotAsPlannedError(f"found a frame of time stamp {frame.pts}, expected {stamp}")
            yield frame, numbers
    if next(expected, None):
        raise NotAsPlannedError("frames are missing at the end")


def _decoded(packets: Iterator[av.Packet], codec: av.VideoCodecContext, plan: Plan) -> Iterator[av.VideoFrame]:
    fed = False
    try:
        for i, packet in enumerate(packet for packet in packets if packet.size):
            if plan.decode[i]:
                codec.skip_frame = "DEFAULT" if packet.pts in plan.wanted else "NONREF"
                yield from codec.decode(packet)
                fed = True
            elif fed:
                yield from codec.decode(None)
                codec.flush_buffers()
                fed = False
        if fed:
            yield from codec.decode(None)
    except (av.error.FFmpegError, IndexError) as error:
        raise NotAsPlannedError(str(error)) from None
