"""The running numbers of a kernel's messages, and which of them are missing. Pure.

A Python kernel numbers everything that it sends, at the end of each message's id (protocol J7). Queues between the
kernel and this client may overflow silently, and a number that never comes is the only sign. Not every number comes in
its turn, and not every number comes here:

* a thread of the kernel takes a number, and others send before it does. A result is numbered before the streams that it
  flushes (protocol J35). So a number that is missing now may come with one of the next messages;
* the reply comes on another channel than the output, in no order with it (protocol J4);
* replies to requests of other clients go to those clients only. Such a request shows on iopub as busy and idle, and
  its reply is numbered between the two;
* a kernel that could not send a message has used its number for nothing, and may say so.
"""

from __future__ import annotations

from . import messages

FAR = 100_000  # numbers that are missing at once, from which on they are counted and not remembered


class MessageNumbers:
    """The numbers of what came while one request was executed.

    Args:
        own: the `msg_id` of the request.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._source: str | None = None  # what stands before the number: a forked process counts for itself
        self._first = self._last = 0  # of the run's own messages
        self._high = 0  # the highest number that came
        self._published = 0  # the same on iopub
        self._unseen: set[int] = set()
        self._lost = 0  # numbers that are missing, and too many to remember
        self._others: dict[str, tuple[int, int]] = {}  # from where to where requests of others were served
        self._replied: set[str] = set()  # requests whose replies came here
        self._begun = self._idle = False
        self._has_gap: bool | None = False  # None: to be found out
        self._unsent = 0

    @property
    def counted(self) -> bool:
        """Whether the kernel numbers its messages, so that each one that is lost leaves a gap."""
        return self._source is not None

    @property
    def has_gap(self) -> bool:
        """Whether numbers are missing below one that came on iopub, and nothing explains them as far as is known."""
        if self._has_gap is None:
            self._has_gap = self._missing(self._published) > 0
        return self._has_gap

    @property
    def are_whole(self) -> bool:
        """Whether the first and the last message of the run came, and all between them."""
        return self._begun and self._idle and not self.missing

    @property
    def missing(self) -> int:
        """How many numbers are missing between the first and the last message of the run, and nothing explains them."""
        return self._missing(self._last)

    def take_unsent(self, count: int) -> None:
        """The kernel says for how many messages it has used a number, and could not send them (protocol J35)."""
        self._unsent, self._has_gap = count, None

    def note(self, message: messages.Message) -> None:
        """Take the number of a message that came, over any channel. A message may come twice."""
        number = message.number
        if number is None or number == self._high:
            return
        if message.lost_its_id or (message.repaired and (not message.parent or "\ufffd" in message.parent)):
            return  # nobody can tell whose it is, so that its number stays missing until it comes undamaged
        source = message.header.msg_id.rpartition("_")[0]
        own = message.parent == self._own
        if self._source is None:
            if not own:
                return
            self._source, self._first, self._high = source, number, number
        if source != self._source:
            return
        if not (number == self._high + 1 and self._published == self._high):
            self._has_gap = None
        self._place(number)
        if message.channel == "iopub":
            self._published = max(self._published, number)
        elif message.type.endswith("_reply"):
            self._replied.add(message.parent)
        state = message.content.get("execution_state")
        if own:
            self._last = max(self._last, number)
            self._begun = self._begun or state == "busy"
            if state == "idle":
                self._idle, self._has_gap = True, None
        else:
            # One that was being served before the run has its reply anywhere up to its idle.
            first, last = self._others.get(message.parent, (number if state == "busy" else self._first, number))
            self._others[message.parent] = (min(first, number), max(last, number))

    def _place(self, number: int) -> None:
        if number > self._high:
            self._leave_out(self._high + 1, number)
            self._high = number
        elif number < self._first:
            self._leave_out(number + 1, self._first)
            self._first = number
        else:
            self._unseen.discard(number)

    def _leave_out(self, first: int, end: int) -> None:
        if end - first + len(self._unseen) > FAR:
            self._lost += end - first
        else:
            self._unseen.update(range(first, end))

    def _missing(self, end: int) -> int:
        unseen = sorted(number for number in self._unseen if self._first < number < end)
        for request, (first, last) in self._others.items():
            if unseen and request not in self._replied:
                explained = next((number for number in unseen if first < number < last), None)
                if explained is not None:
                    unseen.remove(explained)
        reply = int(self._idle and self._own not in self._replied)
        return max(len(unseen) - reply - self._unsent, 0) + self._lost
