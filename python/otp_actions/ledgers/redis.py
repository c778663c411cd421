"""``OTP_LEDGER = "redis"``: exact across processes and hosts, as Lua scripts on one Redis or Valkey primary.

Each operation is one script, so one atomic step and one round trip. An entry is a string, ``"<value> <expiry>"``. Its
expiry is judged by the caller's ``now``, as in every ledger; the time to live that Redis knows of only removes what
nobody asks for any more.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

from django.views.decorators.debug import sensitive_variables
from redis import VERSION, ConnectionPool
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from otp_actions import _core
from otp_actions.conf import SettingError
from otp_actions.exceptions import OTPUnavailableException
from otp_actions.ledgers.native import NativeLedger

logger = logging.getLogger("otp_actions")

# The braces are a hash tag: all entries lie in one slot, as a script needs it.
_PREFIX: Final = b"{otp}:"
_OURS: Final = re.compile(re.escape(_PREFIX) + rb".{17}", re.DOTALL)
_OLDEST: Final = (6, 2)
_LOOKS: Final = 16
#: What a pool wants to know before it gives a connection: before redis-py 5.3 a command, since then nothing.
_WANTED: Final = () if VERSION >= (5, 3) else ("EVALSHA",)


def _words(*words: bytes) -> bytes:
    """Return *words* as they stand in a command."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class _Script:
    """A script, by the name that Redis gives it and by its text."""

    def __init__(self, *parts: str) -> None:
        text = "".join(parts).encode()
        self.by_name = _words(b"EVALSHA", hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())
        self.by_text = _words(b"EVAL", text)


# A script reads every key, decides, and writes what changed: an error on the way leaves all as it was. N holds the
# numbers of the call; keys are named in it by their index.
#
# A number of Lua is a double: exact up to 2^53, but only if written with "%.0f"; ".." and tostring() keep 14 digits.
# The numbers of a call come as doubles too, in one string: to pack and parse each as text takes a good deal longer.
_READ: Final = """
local N = {struct.unpack('>' .. string.rep('d', #ARGV[1] / 8), ARGV[1])}
local now, size = N[1], #N - 1
local value, expiry, left, changed = {}, {}, {}, {}
for i = 1, #KEYS do
  value[i], expiry[i], left[i] = 0, now, 0
  local text = redis.call('GET', KEYS[i])
  if text then
    local v, e = string.match(text, '^(%d+) (%d+)$')
    v, e, left[i] = tonumber(v), tonumber(e), redis.call('TTL', KEYS[i])
    if not v or #text > 33 or v > 9007199254740992 or e > 9007199254740992 or left[i] < 0 then
      error('OTPDAMAGED')
    end
    if now < e then value[i], expiry[i] = v, e end
  end
end
"""

# What Redis itself removes, it removes an hour later than the caller who wrote last would, and never earlier than it
# would have before: another host may have a clock that is behind, and Redis goes by a clock of its own.
_WRITE: Final = """
for i = 1, #KEYS do
  if changed[i] then
    local seconds = math.max(left[i], math.min(expiry[i] - now + 3600, 1099511627776))
    local text = string.format('%.0f %.0f', value[i], expiry[i])
    redis.call('SET', KEYS[i], text, 'EX', string.format('%.0f', seconds))
  end
end
return reply
"""

# N: now, how many barriers, (index, above) of each, (index, limit, ttl) of each claim. Returns 0 and the counts, or
# which of them all stood in the way and the seconds until it expires.
_TAKE: Final = _Script(
    _READ,
    """
local last = 2 + 2 * N[2]
for j = 3, last, 2 do
  local i = N[j]
  if now < expiry[i] and value[i] > N[j + 1] then return {(j - 1) / 2, expiry[i] - now} end
end
for j = last + 1, size, 3 do
  local i = N[j]
  if value[i] >= N[j + 1] then return {N[2] + (j - last + 2) / 3, expiry[i] - now} end
end
local reply = {0}
for j = last + 1, size, 3 do
  local i = N[j]
  if expiry[i] <= now then expiry[i] = now + N[j + 2] end
  value[i], changed[i] = value[i] + 1, true
  reply[#reply + 1] = value[i]
end
""",
    _WRITE,
)

# From N[first] on: (index, limit, units) of each claim.
_RELEASE: Final = """
for j = first, size, 3 do
  local i = N[j]
  if value[i] >= 1 and value[i] <= N[j + 1] then
    value[i], changed[i] = math.max(0, value[i] - N[j + 2]), true
  end
end
local reply = 1
"""

# N: now, value, ttl, the releases. The mark is KEYS[1]. Returns 1 if it moved, else 0.
_ADVANCE: Final = _Script(
    _READ,
    """
if now < expiry[1] and N[2] <= value[1] then return 0 end
value[1], expiry[1], changed[1] = N[2], math.max(expiry[1], now + N[3]), true
local first = 4
""",
    _RELEASE,
    _WRITE,
)

_GIVE_BACK: Final = _Script(_READ, "local first = 2\n", _RELEASE, _WRITE)

#: By the numbers that the core knows them by: cpp/bindings/script_ledger.cc packs what they are given.
_SCRIPTS: Final = (_TAKE, _ADVANCE, _GIVE_BACK)


# --- What can be wrong ----------------------------------------------------------------------------------------------


class _Unfit(RedisError):
    """The server works, but must not be counted on. The text says why and what to do."""


#: What to say, by what the error's class or text holds; the first that fits. Texts differ by version, and may quote
#: what was sent: they are searched, never shown.
_HINTS: Final = (
    ("OTPDAMAGED|WRONGTYPE", "An entry is damaged or not ours. Give the ledger a database of its own."),
    ("OutOfMemory|OOM", "The server is full: raise maxmemory."),
    ("ReadOnly|READONLY", "The server is a replica: let OTP_REDIS_URL lead to the primary."),
    ("MOVED|MovedError", "The server is a node of a cluster: let OTP_REDIS_URL lead to a single primary."),
    (
        "NoPermission|NOPERM|user executing the script|ACL failure",
        "The user of OTP_REDIS_URL lacks a permission: docs/redis.md lists them.",
    ),
    ("Authentication", "The server refuses the user or password in OTP_REDIS_URL, or wants one."),
    ("DB index", "The server has no database of that number: lower it in OTP_REDIS_URL, or raise its `databases`."),
    ("MISCONF", "The server cannot write to its disk: see its log."),
    ("BusyLoading|LOADING", "The server is still loading its data."),
    ("TimeoutError", "No answer within OTP_LEDGER_TIMEOUT: see whether the server or the network is overloaded."),
    ("ConnectionError", "The server cannot be reached: see whether it runs where OTP_REDIS_URL says."),
)
_NONSENSE: Final = "The answer is not one of a Redis that works: see what OTP_REDIS_URL leads to."


def _hint(error: Exception) -> str:
    if isinstance(error, _Unfit):
        return str(error)
    said = f"{type(error).__name__} {error}"
    return next((hint for pattern, hint in _HINTS if re.search(pattern, said)), _NONSENSE)


def _judge(info: object) -> None:
    """Raise unless *info*, the answer to INFO, is that of a server that keeps what it was told."""
    lines = info.decode(errors="replace").splitlines() if isinstance(info, bytes) else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    version = re.match(r"(\d+)\.(\d+)", fields.get("redis_version", ""))
    if version is None or not {"maxmemory", "maxmemory_policy", "role"} <= fields.keys():
        raise _Unfit("INFO does not say what a Redis says: let OTP_REDIS_URL lead to Redis 6.2+ or Valkey.")
    if (int(version[1]), int(version[2])) < _OLDEST:
        raise _Unfit("The server is older than Redis 6.2: upgrade it.")
    if fields["role"] != "master":
        raise _Unfit("The server is a replica: let OTP_REDIS_URL lead to the primary.")
    if fields["maxmemory"] != "0" and fields["maxmemory_policy"] != "noeviction":
        raise _Unfit("The server drops live counts when it is full: set maxmemory-policy noeviction.")


def _open(connection: Any) -> None:
    """Make a new connection ready, and look at who answers: it may be another server than the last time."""
    try:
        connection.on_connect()
        connection.send_command("INFO")
        _judge(connection.read_response())
    except BaseException:
        connection.disconnect()  # Otherwise it would pass for one that was looked at.
        raise


class Problem(NamedTuple):
    """What a system check has to say.

    Attributes:
        wrong: True if nothing will be accepted until it is put right.
        text: What is the matter.
        hint: What to do.
    """

    wrong: bool
    text: str
    hint: str


# --- The ledger -----------------------------------------------------------------------------------------------------


class _Server:
    """Asks the server.

    Raises:
        SettingError: The URL cannot be read.
    """

    @sensitive_variables()
    def __init__(self, url: str, timeout: float) -> None:
        parse: Callable[[str], dict[str, Any]] = parse_url
        try:
            options: dict[str, Any] = {
                "max_connections": 2**31,  # As many as threads; redis-py 8 would refuse the 101st.
                **parse(url),
                "socket_timeout": timeout,
                "socket_connect_timeout": timeout,
                # An advance that was answered too late and is sent again says "already used" to whom it belongs.
                "retry": Retry(NoBackoff(), 0),
                "protocol": 2,
                "decode_responses": False,
                "redis_connect_func": _open,
            }
            pool = ConnectionPool(**options)
            pool.connection_class(**pool.connection_kwargs)  # Connects to nothing, but refuses an unknown option.
        except (TypeError, ValueError, RedisError):
            pool = None
        if pool is None:  # Not above: the error there may quote the password.
            raise SettingError(
                "otp_actions.E010",
                "OTP_REDIS_URL cannot be read. It must be like redis://user:password@host:6379/0, with special "
                "characters of the password written as %xx, and no options but those of redis-py.",
            )
        self.pool = pool

    def run(self, script: int, words: int, tail: bytes) -> Any:
        """Return the reply of a script to the *words* words in *tail*.

        Raises:
            OTPUnavailableException: There is none. One line was logged.
        """
        head = _SCRIPTS[script]
        try:
            try:
                return self.ask(words + 2, head.by_name + tail)
            except NoScriptError:  # Nothing was run. EVAL also loads it.
                return self.ask(words + 2, head.by_text + tail)
        except Exception as error:
            # Anything: a parser that is fed nonsense raises what comes. Whatever it is, nobody knows what was counted.
            kind, hint = type(error).__name__, _hint(error)
        # Outside of the handler: no error of redis-py's, with what it knows, hangs on ours.
        raise self._failure(kind, hint)

    def ask(self, count: int, words: bytes) -> Any:
        """Send a command of *count* words and return the answer."""
        # One question, one answer. redis-py's own client takes a fifth as long again, and may ask twice.
        connection: Any = self.pool.get_connection(*_WANTED)
        try:
            connection.send_packed_command([b"*%d\r\n%b" % (count, words)])
            return connection.read_response()
        except BaseException:
            connection.disconnect()  # The answer may still be on its way, and is for nobody else.
            raise
        finally:
            self.pool.release(connection)

    def nonsense(self) -> NoReturn:
        """Say that an answer was none."""
        raise self._failure("InvalidResponse", _NONSENSE)

    def _failure(self, kind: str, hint: str) -> OTPUnavailableException:
        logger.error('OTP_LEDGER = "redis" cannot tell, so nothing is accepted: %s. %s', kind, hint)
        # The next one connects, and looks, afresh: behind a name there may be a new primary by then.
        self.pool.disconnect(inuse_connections=False)
        return OTPUnavailableException()


class RedisLedger(NativeLedger):
    """Counts in one Redis database, which should be the ledger's own.

    Args:
        url: As redis-py reads it: ``redis://``, ``rediss://`` or ``unix://``.
        timeout: Seconds to wait for a connection, and for an answer.

    Raises:
        SettingError: The URL cannot be read.
    """

    blocking = True

    @sensitive_variables()
    def __init__(self, url: str, *, timeout: float) -> None:
        self._server = _Server(url, timeout)
        super().__init__(_core.ScriptLedger(_PREFIX, self._server.run, self._server.nonsense))

    def problems(self) -> list[Problem]:
        """Return what a system check should report. Asks the server, so this may take as long as the timeout."""
        self._server.pool.disconnect(inuse_connections=False)
        try:
            keys = {self._server.ask(1, _words(b"RANDOMKEY")) for _ in range(_LOOKS)}
        except _Unfit as error:
            return [Problem(True, 'The server of OTP_LEDGER = "redis" cannot be counted on.', str(error))]
        except Exception as error:
            # Anything: see _Server.run.
            text = f'The server of OTP_LEDGER = "redis" could not be asked whether it is fit ({type(error).__name__}).'
            return [Problem(False, text, _hint(error))]
        if all(key is None or (isinstance(key, bytes) and _OURS.fullmatch(key)) for key in keys):
            return []
        return [
            Problem(
                False,
                "The database of OTP_REDIS_URL holds keys that are not the ledger's: whoever clears or fills it for "
                "their own reasons makes used codes good again, or all codes refused.",
                "Give the ledger a server of its own, or at least a database number of its own.",
            )
        ]
