"""What may go wrong on a network, chosen by a seed: the same seed asks for the same faults at the same bytes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down"]  # from the client to the server, and back
Kind = Literal["cut", "reset", "half_close", "delay", "garble", "black_hole", "refuse"]

KINDS: tuple[Kind, ...] = ("cut", "reset", "half_close", "delay", "garble", "black_hole", "refuse")
# The client's few bytes are spent quickly; what comes back is most of the traffic.
REACH = {"up": 3_000, "down": 400_000}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong once, when `after` more bytes have passed in `direction` since the fault before it.

    * `cut` ends the connection in both directions, `reset` does so with RST and throws away what is under way;
    * `half_close` ends this direction only, and keeps the other one open;
    * `delay` holds the bytes back for `seconds`;
    * `garble` damages them: what goes down is overwritten with bytes that no UTF-8 has, what goes up gets a frame
      header that no WebSocket has (a damaged payload would be other code, which nobody could tell from a user's);
    * `black_hole` swallows both directions from here on without a word, and new connections for `seconds`;
    * `refuse` cuts, and answers the next `count` requests with 502 or 503.
    """

    kind: Kind
    direction: Direction
    after: int
    seconds: float = 0.0
    count: int = 0


def plan(seed: int, most: int = 4, kinds: tuple[Kind, ...] = KINDS) -> list[Fault]:
    """The faults of one run: one to `most`, of the given kinds."""
    chance = random.Random(seed)
    faults = []
    for _ in range(chance.randint(1, most)):
        kind = chance.choice(kinds)
        direction: Direction = "up" if chance.random() < 0.25 else "down"
        # Early bytes are where requests and replies are, later ones are output: both are to be hit.
        after = int(REACH[direction] * chance.random() ** 3)
        faults.append(Fault(kind, direction, after, round(0.05 + 0.5 * chance.random(), 2), chance.randint(1, 3)))
    return faults
