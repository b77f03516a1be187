"""What the processes of all hosts agree on, in Redis. Every key starts with the broadcast prefix.

==============================  ====================================================================
``c2c_switch/<kind>/<key>``     hash: ``n``, ``token`` and ``record`` (JSON), ``ended`` once its
                                time is over; removed a week after that
``c2c_switches``                set of all ``<kind>/<key>``
``c2c_switch_clock``            the greatest ``n`` given so far; one that is more than a day ahead
                                is replaced
``c2c_changes``                 list of the last changes, newest first: ``n``, a space, JSON
==============================  ====================================================================

``n`` is given by Redis, so that changes made at the same time on several hosts have one order.
Whatever else lies under one of these names is overwritten.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import structs

from c2cotel.broadcast.complaints import Complaints
from c2cotel.broadcast.records import (
    CHANGE,
    MAX_CHANGES,
    RECORD,
    REMEMBERED,
    Change,
    Record,
    believed,
    heard,
    latest,
    newest_changes,
    read,
)
from c2cotel.redis import Connections

_COMMON = """
local function make_room(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
local function list(key, n, change, most)
  make_room(key, 'list')
  redis.call('LREM', key, 0, n .. ' ' .. change)
  redis.call('LPUSH', key, n .. ' ' .. change)
  redis.call('LTRIM', key, 0, most - 1)
end
"""

# KEYS: the record, the clock, the index, the changes.
# ARGV: name, n, token, record, milliseconds it is kept or 0, change or '', changes to keep, the
# greatest n that is believed.
# With a change, n is given here; without one, it is an offer: 0 if it is not newer. What is no
# number of a clock counts as 0. Gives n, and the clock that there was if it is not believed.
_STORE = """
local name, token, record, life, change, most = ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local function number(text)
  local n = type(text) == 'string' and tonumber(text)
  if n and n > 0 and n <= tonumber(ARGV[8]) then return n end
  return 0
end
make_room(KEYS[1], 'hash')
make_room(KEYS[2], 'string')
make_room(KEYS[3], 'set')
local held = redis.call('HMGET', KEYS[1], 'n', 'token')
local ticked = redis.call('GET', KEYS[2])
local n, held_n, clock = number(ARGV[2]), number(held[1]), number(ticked)
local wrong = clock == 0 and ticked or ''
if change ~= '' then
  n = math.max(n, clock + 1, held_n + 1)
elseif n == 0 or held_n > n or (held_n == n and held[2] and held[2] >= token) then
  return {'0', wrong}
end
local text = string.format('%.0f', n)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'n', text, 'token', token, 'record', record)
if life ~= '0' then redis.call('PEXPIRE', KEYS[1], life) end
redis.call('SADD', KEYS[3], name)
redis.call('SET', KEYS[2], string.format('%.0f', math.max(n, clock)))
if change ~= '' then list(KEYS[4], text, change, most) end
return {text, wrong}
"""

# KEYS: the index. ARGV: what precedes a name in its key. Gives name, n, token, record, ended,
# milliseconds it is kept of each; the name alone, if something else lies there.
_READ = """
local found = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local key = ARGV[1] .. name
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    redis.call('SREM', KEYS[1], name)
  elseif kind ~= 'hash' then
    found[#found + 1] = {name}
  else
    local held = redis.call('HMGET', key, 'n', 'token', 'record', 'ended')
    found[#found + 1] = {name, held[1], held[2], held[3], held[4], redis.call('PTTL', key)}
  end
end
return found
"""

# KEYS: the record, the changes. ARGV: n and token of the record, n of the change, the change,
# changes to keep. Gives 1 to the first that says so.
_END = """
make_room(KEYS[1], 'hash')
local held = redis.call('HMGET', KEYS[1], 'n', 'token')
if held[1] == ARGV[1] and held[2] == ARGV[2] then
  if redis.call('HSETNX', KEYS[1], 'ended', '1') == 0 then return 0 end
end
list(KEYS[2], ARGV[3], ARGV[4], ARGV[5])
return 1
"""

# KEYS: the changes. ARGV: changes to keep, then n and the change of each, the newest last.
_LIST = """
for i = 2, #ARGV, 2 do list(KEYS[1], ARGV[i], ARGV[i + 1], ARGV[1]) end
"""


class AgreedRedis:
    """The keys under *prefix*.

    Every method raises :class:`OSError` when Redis refuses; when it is away or too slow, that is a
    :class:`ConnectionError`.
    """

    def __init__(self, connections: Connections, prefix: str, complaints: Complaints) -> None:
        self.connections = connections
        # Its commands are typed as if they could be awaited.
        self._client: Any = connections.primary
        self._before = f"{prefix}c2c_switch/"
        self._clock = f"{prefix}c2c_switch_clock"
        self._index = f"{prefix}c2c_switches"
        self._changes = f"{prefix}c2c_changes"
        self._complaints = complaints

    def stamp(self, record: Record, change: Change) -> Record:
        """Keep *record* as the newest of all, and list *change*; gives it with its ``n``."""
        return structs.replace(record, n=self._store(record, msgspec.json.encode(change)))

    def offer(self, records: Iterable[Record]) -> list[Record]:
        """Keep those of *records* that are newer than what is there; gives these."""
        return [record for record in records if self._store(record, b"")]

    def _store(self, record: Record, change: bytes) -> int:
        kept = 0.0
        if record.value is None or record.left is not None:
            kept = REMEMBERED + (record.left or 0)
        keys = (self._before + record.name, self._clock, self._index, self._changes)
        written = msgspec.json.encode(record)
        life = round(kept * 1000)
        arguments = (record.name, record.n, record.token, written, life, change, MAX_CHANGES)
        n, wrong = self._run(_STORE, keys, *arguments, latest())
        if wrong:
            self._complaints.give(
                self._clock,
                "In Redis, ignored: the clock %.100r of %s is no time, or more than a day ahead",
                wrong,
                self._clock,
            )
        else:
            self._complaints.settle(self._clock)
        return int(n)

    def read(self) -> list[Record]:
        """What is agreed; what is corrupt is complained of, and left out."""
        entries = self._run(_READ, (self._index,), self._before)
        return list(self._each("switch", entries, _record))

    def end(self, record: Record, change: Change) -> bool:
        """Note that the time of *record* is over; whether this is the first process to say so."""
        first: int = self._run(
            _END,
            (self._before + record.name, self._changes),
            *(record.n, record.token, change.n, msgspec.json.encode(change), MAX_CHANGES),
        )
        return first == 1

    def changes(self) -> list[Change]:
        """The last changes, newest first; corrupt ones are left out."""
        lines = self._command("LRANGE", self._changes, 0, MAX_CHANGES - 1)
        return newest_changes(self._each("change", lines, _change), MAX_CHANGES)

    def list_changes(self, changes: Iterable[Change]) -> None:
        """List those of *changes* that are not there; of the same text there is one."""
        lines = [(change.n, msgspec.json.encode(change)) for change in changes]
        arguments = [each for line in sorted(lines) for each in line]
        self._run(_LIST, (self._changes,), MAX_CHANGES, *arguments)

    def _run(self, script: str, keys: tuple[str, ...], *arguments: str | bytes | float) -> Any:
        return self._command("EVAL", _COMMON + script, len(keys), *keys, *arguments)

    def _command(self, *words: str | bytes | float) -> Any:
        import redis

        try:
            # Bytes: one text that is not UTF-8 must not keep out the others.
            return self._client.execute_command(*words, NEVER_DECODE=True)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        except redis.RedisError as error:
            raise OSError(f"{type(error).__name__}: {error}") from error

    def _each(self, what: str, entries: Iterable[Any], parse: Any) -> Iterator[Any]:
        for entry in entries:
            try:
                yield parse(entry)
            except ValueError as error:
                name = entry[0] if isinstance(entry, list) else entry
                key = self._before.encode() + name if isinstance(entry, list) else name
                self._complaints.give(
                    f"redis {what} {key!r}", "In Redis, ignored: %s %.200r: %s", what, key, error
                )


def _record(entry: list[Any]) -> Record:
    name, *rest = entry
    if not rest or None in rest[:3]:
        raise ValueError("it is something else")
    n, token, data, ended, kept = rest
    record = read(data, RECORD)
    if record.name.encode() != name:
        raise ValueError(f"it is about {record.name}")
    left = record.left
    if record.ttl is not None and kept >= 0:
        left = min(record.ttl, max(0.0, kept / 1000 - REMEMBERED))
    if ended:
        left = 0.0
    record = structs.replace(record, n=int(n), token=token.decode(), left=left)
    # Replacing does not look at the values, reading does.
    return heard(read(msgspec.json.encode(record), RECORD))


def _change(line: bytes) -> Change:
    n, _, data = line.partition(b" ")
    return believed(structs.replace(read(data, CHANGE), n=int(n)))
