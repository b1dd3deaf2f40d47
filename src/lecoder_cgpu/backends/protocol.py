"""The seam between the tool and the places that lend runtimes.

`Backend` is what every place can do: obtain an `Endpoint`, find it again, release it. `Leased` is what a place can do
whose runtimes cost something, and are therefore kept alive, counted, limited and given back. Nothing outside this
package asks for a backend's name to decide something: it asks for one of these two, or for one of their attributes.

A backend is a class that derives from one of them, so that what it leaves out has the usual meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from msgspec import Struct, field

from .. import errors
from ..jupyter.endpoint import Endpoint
from ..store.leases import Limits

if TYPE_CHECKING:
    from ..jupyter.watch_driver import Responder
    from ..models.status import Account as AccountDocument
    from ..models.status import Gpu, Host
    from ..store.lifecycle import Stage
    from ..store.session_store import Record

# What became of a runtime: its server was ended; it was given back; its end was asked for and is not confirmed yet.
Released = Literal["server", "runtime", "requested", "nothing"]


class RuntimeRequest(Struct, frozen=True, kw_only=True):
    """What kind of runtime a command asked for. Nothing given: whatever session is in use.

    `gpu` and `tpu` are names, the best first; an empty tuple of TPUs means any, None that none was asked for.
    `patience` is for how many seconds to wait for a machine to become free (None: nothing was said), `limits` are those
    of the lease.
    `kernel_name` is the kernel of the session, by the name of its kernelspec; every runtime may have it.
    `server_options` are those of a JupyterHub's server.
    """

    cpu: bool = False
    tpu: tuple[str, ...] | None = None
    gpu: tuple[str, ...] = ()
    high_ram: bool = False
    new: bool = False
    patience: float | None = None
    limits: Limits = Limits()
    kernel_name: str | None = None
    server_options: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """The options as the user wrote them."""
        written = {
            "--cpu": self.cpu,
            " ".join(["--tpu", ",".join(self.tpu or ())]).strip(): self.tpu is not None,
            f"--gpu {','.join(self.gpu)}": self.gpu,
            "--high-ram": self.high_ram,
            "--new-runtime": self.new,
            **{f"--server-option {name}={value}": True for name, value in self.server_options.items()},
        }
        return [option for option, given in written.items() if given]


class ServerRequest(Struct, frozen=True, kw_only=True):
    """A server that the user names by its address.

    `token` or `password` opens it; `ca` is a file with certificate authorities that are trusted besides the usual ones.
    `kernel_env` is what kernels are started with, where the server takes that. On a JupyterHub, `server_name` is the
    server among those of the user (None: the address says it, else the default one), `server_options` what it is
    started with, `start` allows to start the default one, and `keep_awake` to report work that is silent. `patience` is
    for how many seconds a start is waited for; 0 means the usual time.
    """

    url: str
    token: str | None = None
    password: str | None = None
    ca: str | None = None
    kernel_env: dict[str, str] = field(default_factory=dict)
    server_name: str | None = None
    server_options: dict[str, Any] = field(default_factory=dict)
    start: bool = False
    keep_awake: bool = True
    patience: float = 0.0

    def __repr__(self) -> str:  # secrets must not reach a log through a traceback
        return f"ServerRequest(url={self.url!r})"


def _nobody(text: str) -> None:
    pass


def _nobody_agrees(kind: str, what: str) -> bool:
    return False


class AcquireOptions(Struct, frozen=True, kw_only=True):
    """On which terms a runtime is obtained.

    `tell` hears what the user should know meanwhile; `patience` is for how many seconds a machine may be waited for;
    `replace` allows another runtime in the place of one that is gone, where that costs money. `key` is a UUID under
    which the other runtime is asked for, so that whoever asks for it finds the same one; empty for a fresh key.
    """

    tell: Callable[[str], None] = _nobody
    patience: float = 0.0
    replace: bool = False
    key: str = ""


class Upstream(Struct, frozen=True):
    """A backend's own proxy for a port of the runtime: its address without a final slash, the header and token that it
    asks for, until when (Unix time) the token is good, and further headers."""

    url: str
    header: str
    token: str
    expires: float
    more: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:  # a token must not reach a log through a traceback
        return f"Upstream(url={self.url!r})"


class Account(Struct, kw_only=True):
    """What an account may use and what it costs; None is what the lender did not say.

    Units are compute units, `rate` is units per hour. `free_units` is what is left of the free quota, `refills_at` when
    more comes (Unix time). `refused_gpus` and `refused_tpus` exist, and this account may not use them.
    """

    balance: float | None = None
    rate: float | None = None
    assignments: int | None = None
    gpus: list[str] | None = None
    tpus: list[str] | None = None
    refused_gpus: list[str] | None = None
    refused_tpus: list[str] | None = None
    free_units: float | None = None
    refills_at: float | None = None
    tier: str | None = None

    @property
    def names(self) -> list[str] | None:
        """Every accelerator that may be asked for."""
        return None if self.gpus is None and self.tpus is None else [*(self.gpus or []), *(self.tpus or [])]

    @property
    def hours_left(self) -> float | None:
        """How long the balance lasts at the present rate, or the free quota of those who have none."""
        if self.balance is None or not self.rate:
            return None
        return (self.balance + (self.free_units or 0.0)) / self.rate


class HeldRuntime(Struct, frozen=True, kw_only=True):
    """One runtime that the account holds, whoever asked for it.

    `endpoint` is the lender's name for it. `accelerator` is `NONE` on a machine without one. `url` is its address for
    people, `server` how to reach its Jupyter server; None when that is not known.
    """

    endpoint: str
    label: str
    variant: str
    accelerator: str
    high_memory: bool = False
    url: str | None = None
    server: Endpoint | None = None


class Machine(NamedTuple):
    """What a runtime's hardware does now."""

    gpus: list[Gpu]
    host: Host


class ConsentState(Struct, frozen=True):
    """Whether the runtime was handed what the user has to agree to; if not, the address at which to agree."""

    granted: bool
    url: str | None = None


class Backend(Protocol):
    """What every place that lends runtimes can do. Methods that only ask what is known here never use the network."""

    name: str
    label: str  # the place's name for people

    lends_accelerators: bool = False  # whether a GPU, a TPU or much memory can be asked for
    owns_runtime: bool = True  # whether the runtime is ours to end; if not, only the kernels are that we started there
    takes_server_options: bool = False  # whether a server is started with options of its own (`--server-option`)
    kernels_apart: bool = False  # whether two kernels of a runtime may be on different machines (a gateway's)
    is_here: bool = False  # whether its runtimes are on this machine, so that asking one costs nothing
    takes_folder: bool = False  # whether a session can be given a working folder of this machine (`--root`)
    extra: str | None = None  # the optional part of the installation that it needs
    languages: tuple[str, ...] | None = None  # what its kernels run (`kernelspecs.language_of`), where that is known
    no_page: str | None = None  # why a browser cannot show its runtimes; None where the server's own page can

    def owns(self, record: Record) -> bool:
        """Whether the session's runtime is ours to end."""
        return self.owns_runtime

    def keeps_awake(self, record: Record) -> bool:
        """Whether the helper may report work to whoever ends servers that seem idle."""
        return True

    def create(self, name: str, wants: RuntimeRequest) -> Record:
        """A record for a session that does not exist yet; starts nothing."""

    def attach(self, name: str, server: ServerRequest) -> Record:
        """A record, which is not stored yet, for a server that the user names by its address.

        Raises:
            errors.UsageError: the address is malformed, or the backend has no such servers.
            errors.AuthError: the server refuses the password. errors.ConnectionFailed: it could not be asked.
        """
        raise errors.UsageError(
            f"the {self.name} backend has no servers with an address of their own", hint="leave out --url"
        )

    def serves(self, record: Record, wants: RuntimeRequest) -> bool:
        """Whether the session's runtime is of the kind that is wanted, as far as is known here."""
        return not (wants.gpu or wants.high_ram or wants.tpu is not None or wants.server_options)

    def is_chosen(self, record: Record) -> bool:
        """Whether the session is one that the settings of this command mean, once they have chosen the backend."""
        return True

    def obtain(self, record: Record, terms: AcquireOptions) -> tuple[Endpoint, bool]:
        """The session's endpoint, brought to life if need be, and whether the runtime is a fresh one."""

    def find(self, record: Record) -> Endpoint | None:
        """The endpoint as it is known here; None when there is none without starting anything."""

    def known_gone(self, record: Record) -> bool:
        """Whether it is known here that the session's runtime is gone."""

    def is_gone(self, record: Record) -> bool:
        """Whether the runtime is gone, as the lender says.

        Raises:
            errors.Error: the lender could not be asked.
        """

    def refresh_endpoint(self, record: Record, error: errors.Error) -> Endpoint | None:
        """After the endpoint was refused or not reached: another address for the same runtime, None when there is none.

        Raises:
            errors.LostError: the runtime is gone. errors.Unlisted: it may be; `obtain` finds out.
            errors.Error: the lender could not be asked.
        """
        return None

    def release(self, record: Record) -> Released:
        """Give the runtime back, as far as it is ours to end, and say what was confirmed."""

    def can_start_new(self) -> bool:
        """Whether `--new-runtime` can give a runtime of its own."""
        return True

    def machine(self, record: Record, endpoint: Endpoint) -> Machine | None:
        """What the runtime's hardware does, where that can be asked without our helper on the runtime; else None.

        Raises:
            errors.Error: the runtime could not be asked.
        """
        return None

    def upstream(self, record: Record) -> Callable[[int], Upstream] | None:
        """A function that finds the backend's own proxy for a port of the runtime, with a fresh token; None where the
        backend has no such proxy.

        The function raises errors.NotFoundError for a port that the proxy does not serve.
        """
        return None

    def port_path(self, record: Record) -> Callable[[int], Upstream] | None:
        """The same for a path below the Jupyter server's own address that leads to a port."""
        return None

    def responder(
        self,
        record: Record,
        secrets: dict[str, str],
        tell: Callable[[str], None],
        may: Callable[[str, str], bool] = _nobody_agrees,
    ) -> Responder | None:
        """What answers requests of code on the runtime to its front end, beyond Jupyter's protocol; None where nothing
        does.

        Args:
            secrets: what the code may have, by name. tell: hears what the user should know.
            may: whether the user agrees that code is handed that of the account: its kind (`drive`, `auth`), and the
                same for people.
        """
        return None

    def consent(self, record: Record, kind: str) -> ConsentState | None:
        """Hand the runtime what the user has to agree to (`drive`, `auth`); None where there is nothing to agree to.

        Raises:
            errors.Error: the lender could not be asked.
        """
        return None


@runtime_checkable
class Leased(Backend, Protocol):
    """A place whose runtimes cost something: they belong to an account, are kept alive, and end with their lease."""

    page: str | None = None  # where a person sees the account's runtimes, and ends them without this tool
    memory: Mapping[str, str] = {}  # what accelerators have, in GB as their makers count; of some there are two kinds
    restrictions: str | None = None  # what its terms say of remote access on free runtimes, with `{what}` for the means

    # --- sessions ---

    def state(self, record: Record) -> Stage:
        """The state of the session's runtime (see `store/lifecycle.py`), as it is known here."""

    def look_anew(self) -> None:
        """Believe nothing that the lender said before: another call begins, maybe long after the last one."""

    def withdraw(self, record: Record) -> Released | None:
        """Give back what this process has asked for, now or as soon as it appears; None if another one wants it.

        Raises:
            errors.Unanswered: it may still appear. errors.Error: the lender could not be told.
        """
        return self.release(record)

    def reconcile(self, record: Record) -> bool:
        """Find out about an allocation whose answer was lost. False when it came to nothing. What nobody wants any more
        is to be given back then, or the session is forgotten.

        Raises:
            errors.Error: the lender could not be asked.
        """

    def give_up(self, record: Record) -> None:
        """Note that the session's runtime is lost, if that is certain.

        Raises:
            errors.Error: the lender could not be asked.
        """

    def certainly_gone(self, record: Record) -> bool:
        """Whether the lender says with certainty that the session's runtime is gone.

        Raises:
            errors.Error: the lender could not be asked.
        """

    # --- the account ---

    def has_account(self) -> bool:
        """Whether somebody is logged in. Asks nobody.

        Raises:
            errors.ConfigError: what is stored of the login cannot be read.
        """

    def holder(self) -> AccountDocument | None:
        """Whose account it is; None when that is not known here."""
        return None

    def services(self) -> list[str]:
        """The addresses of the services that have to be reachable, for `doctor`."""
        return []

    def account(self) -> Account:
        """What the account may use and what it costs.

        Raises:
            errors.AuthError: nobody is logged in. errors.Error: the lender could not be asked.
        """

    def tier(self) -> str | None:
        """The account's plan where `account` does not tell it; None when nobody tells.

        Raises:
            errors.Error: the lender could not be asked.
        """
        return None

    # --- runtimes that the account holds ---

    def runtimes(self) -> Sequence[HeldRuntime]:
        """Every runtime of the account, at most a few seconds old.

        Raises:
            errors.Error: the lender could not be asked.
        """

    def adopt(self, endpoint: str, name: str) -> Record:
        """A record, which is not stored yet, for a runtime of the account that no session here holds.

        Raises:
            errors.NotFoundError: the account holds no such runtime.
        """

    def release_endpoint(self, endpoint: str) -> Released:
        """Give back a runtime that no session here holds."""

    # --- for the keeper ---

    def keep_alive(self, record: Record) -> bool:
        """Tell the lender that the runtime is in use; False where the lender has no way to hear it.

        Raises:
            errors.NotFoundError: it knows no such runtime, which only `certainly_gone` can confirm.
        """

    def retire(self, record: Record) -> bool:
        """Release the runtime and keep the record, as that of a lost runtime; False while that is not confirmed."""

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
