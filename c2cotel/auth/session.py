"""Who has logged in, as the encrypted cookie carries it, and a login by GitHub under way."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from c2cotel.auth import sealing

# Raised when a field changes its meaning: cookies of another version are nobody's.
VERSION = 1
LOGIN_SECONDS = 600

T = TypeVar("T")


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who has logged in; times are seconds of the epoch."""

    version: int = VERSION
    mode: str
    login: str
    name: str = ""
    url: str = ""
    token: str = ""
    csrf: str
    issued: int
    expires: int

    def __repr__(self) -> str:
        return f"Session({self.login!r}, {self.mode})"


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered while somebody is at GitHub, to recognise him when he is back."""

    state: str
    verifier: str
    came_from: str
    expires: int

    def __repr__(self) -> str:
        return f"Login({self.came_from!r})"


# Made now: msgspec can crash where several threads are the first to read a type.
_SESSION = msgspec.json.Decoder(Session)
_LOGIN = msgspec.json.Decoder(Login)


class Sessions:
    """Makes sessions of one application and one *mode*, and reads them."""

    def __init__(
        self,
        mode: str,
        lifetime: int,
        keys: Sequence[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lifetime = lifetime
        self._mode = mode
        self._clock = clock
        self._seal = sealing.seal(f"session {mode}", keys)
        self._login_seal = sealing.seal("login", keys)

    def begin(self, login: str, *, name: str = "", url: str = "", token: str = "") -> Session:
        """A new session, with a CSRF token of its own."""
        return self._session(login, name, url, token, secrets.token_urlsafe(24))

    def renewed(self, session: Session) -> Session | None:
        """The same for longer, once half of its life is over; None before."""
        left = session.expires - self._clock()
        if left > self.lifetime / 2:
            return None
        return self._session(session.login, session.name, session.url, session.token, session.csrf)

    def write(self, session: Session) -> str:
        """The cookie; what is only for show stays away where it would get too long."""
        text = self._seal.close(msgspec.json.encode(session))
        if len(text) > sealing.LONGEST:
            short = msgspec.structs.replace(session, name="", url="")
            text = self._seal.close(msgspec.json.encode(short))
        return text

    def read(self, text: str) -> Session | None:
        """Whose cookie it is; None for every cookie that is not a valid one of ours."""
        session = _opened(self._seal, text, _SESSION)
        if session is None or session.version != VERSION or session.mode != self._mode:
            return None
        # A lifetime that is set shorter ends the sessions of before too.
        ends = min(session.expires, session.issued + self.lifetime)
        return session if self._clock() < ends else None

    def begin_login(self, came_from: str) -> Login:
        """A login whose state and PKCE verifier nobody can guess."""
        return Login(
            state=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            came_from=came_from,
            expires=int(self._clock()) + LOGIN_SECONDS,
        )

    def write_login(self, login: Login) -> str:
        return self._login_seal.close(msgspec.json.encode(login))

    def read_login(self, text: str) -> Login | None:
        login = _opened(self._login_seal, text, _LOGIN)
        return login if login is not None and self._clock() < login.expires else None

    def _session(self, login: str, name: str, url: str, token: str, csrf: str) -> Session:
        now = int(self._clock())
        return Session(
            mode=self._mode,
            login=login,
            name=name,
            url=url,
            token=token,
            csrf=csrf,
            issued=now,
            expires=now + self.lifetime,
        )


def _opened(box: sealing.Seal, text: str, decoder: msgspec.json.Decoder[T]) -> T | None:
    data = box.open(text)
    if data is None:
        return None
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError):
        return None
