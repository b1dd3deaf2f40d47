"""What Colab says of the account's runtimes: the control planes and the listing.

One command asks for the listing once: an answer, or a failure, serves for a few seconds. What it means that a listing
lacks a runtime, `store/lifecycle.py` decides.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from ... import config, errors
from ...models.base import UNKNOWN_ACCOUNT
from ...store import former
from ...store.session_store import Allocation, Record, Store
from .model import Assignment
from .records import plane_of

if TYPE_CHECKING:
    from ...auth.tokens import Login
    from .control import Ask, Control
    from .model import Account

OPEN_TO_ALL = "tunnel"  # the control plane that every account may use
LISTING_AGE = 5.0  # seconds for which one process believes a listing


class Listing:
    """The runtimes of one Google account, as Colab lists them."""

    def __init__(self, settings: config.Config, state_dir: Path) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self._controls: dict[str, Control] = {}
        self._listings: dict[str, tuple[float, list[Assignment] | errors.Error]] = {}
        self._listing_lock = threading.Lock()
        self._account: tuple[float, Account] | None = None

    @cached_property
    def login(self) -> Login:
        """The login to Google that Colab is asked with."""
        from ...auth import tokens

        return tokens.login(self._settings, self._state_dir)

    def holder(self) -> str | None:
        """Whose account it is; None where that is not known here. Asks nobody."""
        try:
            account = self.login.account()
        except errors.ConfigError:
            return None
        return None if account is None or account.id == UNKNOWN_ACCOUNT else account.id

    @cached_property
    def plane(self) -> str:
        """The name of the control plane for what is new."""
        from .planes import chosen_plane

        return chosen_plane(self._settings)

    @property
    def control(self) -> Control:
        """The control plane for what is new."""
        return self.control_for(self.plane)

    def control_for(self, plane: str) -> Control:
        """The control plane of that name, opened once."""
        if plane not in self._controls:
            from .planes import open_control

            self._controls[plane] = open_control(plane, self._settings, self.login)
        return self._controls[plane]

    def assign(
        self, allocation: Allocation, sending: Callable[[bool], None], tell: Callable[[str], None], ask: Ask
    ) -> Assignment:
        """Ask for a runtime; from the other control plane if the Colab API is not open to the login, which is safe as
        long as nothing else has been asked of it under this key: what it refuses so, it has not begun.

        Raises:
            errors.Error: see `Control.assign`.
        """
        first = not allocation.sent
        try:
            return self.control_for(allocation.plane).assign(ask, sending)
        except errors.ApiClosed as error:
            if not first:
                raise
            tell(f"{error.message}; the runtime is asked for as Colab's web page does")
            self.plane = allocation.plane = OPEN_TO_ALL
            return self.control_for(allocation.plane).assign(ask, sending)

    def control_of(self, record: Record) -> Control:
        """The control plane that knows a session's runtime, whatever the settings say now."""
        return self.control_for(plane_of(record))

    def close(self) -> None:
        """Close the connections to Colab; the next use opens them again."""
        while self._controls:
            self._controls.popitem()[1].close()

    def rows(self, plane: str | None = None, *, fresh: bool = False) -> list[Assignment]:
        """Every runtime of the account; at most `LISTING_AGE` seconds old, unless a fresh listing is wanted.

        Args:
            plane: which control plane to ask. When None, that for what is new, or the one that every account may use.

        Raises:
            errors.Error: Colab could not be asked; or, without `fresh`, could not be a moment ago.
        """
        if plane is not None:
            return self._rows(plane, fresh)
        try:
            return self._rows(self.plane, fresh)
        except errors.ApiClosed:
            return self._rows(OPEN_TO_ALL, fresh)

    def _rows(self, plane: str, fresh: bool) -> list[Assignment]:
        with self._listing_lock:
            known = self._listings.get(plane)
            if fresh or known is None or time.monotonic() - known[0] > LISTING_AGE:
                try:
                    answer: list[Assignment] | errors.Error = self._known(self.control_for(plane).assignments())
                except errors.Error as error:
                    answer = error
                known = self._listings[plane] = (time.monotonic(), answer)
            if isinstance(known[1], errors.Error):
                raise copy.copy(known[1])  # whoever gets it may add to its hint
            return known[1]

    def _known(self, rows: list[Assignment]) -> list[Assignment]:
        """Rows with their endpoints as they are written down here: a lender may write them in other letters. A runtime
        that was ours and is listed again is noted."""
        written = [item.endpoint for item in former.read(self._state_dir)]
        written += [record.runtime.endpoint for record in Store(self._state_dir).records()]
        spelling = {endpoint.casefold(): endpoint for endpoint in written}
        rows = [structs.replace(row, endpoint=spelling.get(row.endpoint.casefold(), row.endpoint)) for row in rows]
        former.seen(self._state_dir, "colab", self.holder(), [row.endpoint for row in rows])
        return rows

    def account(self) -> Account:
        """What the account has and may use; at most `LISTING_AGE` seconds old.

        Raises:
            errors.Error: Colab could not be asked.
        """
        if self._account is None or time.monotonic() - self._account[0] > LISTING_AGE:
            try:
                found = self.control.account()
            except errors.ApiClosed:
                found = self.control_for(OPEN_TO_ALL).account()
            self._account = (time.monotonic(), found)
        return self._account[1]

    def forget(self) -> None:
        """Forget what was listed: a runtime that was assigned since is not in it, and is not missing for that."""
        with self._listing_lock:
            self._listings.clear()
            self._account = None

    def row(self, record: Record, *, fresh: bool = False) -> Assignment | None:
        """The session's row in the listing; None when the listing lacks it."""
        rows = self.rows(plane_of(record), fresh=fresh)
        return next((item for item in rows if item.endpoint == record.runtime.endpoint), None)

    def with_proxy(self, record: Record, listed: Assignment) -> Assignment:
        """The row of a listing with the address and token that it should have, asked for if they are missing."""
        if listed.proxy is not None:
            return listed
        return structs.replace(listed, proxy=self.control_of(record).proxy(listed.endpoint))
