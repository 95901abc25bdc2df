"""
The Lua scripts of a `RedisStore`, which Redis executes atomically.

An object is one hash (docs/stores/redis.md): ``etag``, ``size``, ``modified`` (microseconds since 1970), ``attributes``
(JSON, if there are any), ``expires`` (microseconds since 1970, if it expires) and its bytes in chunks of 1 MiB under
``0``, ``1``, ... Its key is in the index, a sorted set whose scores are all 0, which Redis keeps in the order of the
bytes.

A script writes the index first: a full server refuses that, and then nothing has changed. If a script finds its own
etag in the object, it was executed before, and only its reply was lost.

Other programs may have changed an object: a hash whose fields are missing or wrong is a damaged object, which exists,
and can be replaced and deleted. A value that is no hash is another program's, and no script changes it.
"""

from __future__ import annotations

import hashlib

from storage._core.data import CHUNK

__all__ = ["ADD_CHUNK", "COPY_OR_RENAME", "DELETE", "FIELDS", "LIST", "PUBLISH", "PUT", "READ", "RELEASE", "Script"]


class Script:
    """
    A script, and the hash by which a server finds a script that it has run before.

    Attributes:
        text: the Lua source.
        sha: the SHA-1 of the text.
    """

    def __init__(self, text: str) -> None:
        self.text: str = text.strip()
        self.sha: str = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_NOW = """
local function now()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000000 + time[2])
end
"""

#: Milliseconds that a reader may pause between two reads of a large object before its replaced version is removed.
LEASE = 300_000

#: Used instead of ``UNLINK``: a version that is being read is renamed and kept. Both names end with its etag: ``:r:``
#: has the number of its readers, ``:v:`` the version.
_REMOVE = f"""
local function space_of(index)
  return string.sub(index, 1, -1 - #':keys')
end
local function remove_version(space, name, known)
  local info = known or redis.call('HMGET', name, 'etag', 'size')
  local small = (tonumber(info[2]) or math.huge) <= {CHUNK} -- not if it is "nan", either
  if info[1] and not small and redis.call('EXISTS', space .. ':r:' .. info[1]) == 1 then
    redis.call('RENAME', name, space .. ':v:' .. info[1])
    redis.call('PEXPIRE', space .. ':v:' .. info[1], {LEASE})
  else
    redis.call('UNLINK', name)
  end
end
"""

#: For each new name two random ones are checked: so expired and evicted objects leave the index as fast as new ones
#: enter it, even without listings.
_INDEX = """
local function forget_some(index, start)
  for _, member in ipairs(redis.call('ZRANDMEMBER', index, 2)) do
    if redis.call('EXISTS', start .. member) == 0 then redis.call('ZREM', index, member) end
  end
end
"""

_CHECK_CONDITION = (
    _NOW
    + _INDEX
    + _REMOVE
    + """
-- KEYS: object, index, draft. ARGV: the options of the put; the bytes, or the number of chunks of the draft.
-- The options are one argument, because each argument costs the client time: etag, then '' or '-' to create or '=' and
-- the etag to match, milliseconds to live or '', size, attributes or ''
local etag, condition, life, size, attributes = string.match(ARGV[1], '^(%x+) (%S*) (%d*) (%d+) (.*)$')
local found = redis.call('HMGET', KEYS[1], 'etag', 'size')
local current = found[1]
if current == etag then return {'done'} end
if condition == '-' and not current and redis.call('EXISTS', KEYS[1]) == 1 then return {'refused', '?'} end -- damaged
if condition == '-' and current or string.sub(condition, 1, 1) == '=' and current ~= string.sub(condition, 2) then
  return {'refused', current}
end
"""
)

_REPLACE = """
local space = space_of(KEYS[2])
local start = space .. ':o:'
local new = redis.call('ZADD', KEYS[2], 0, string.sub(KEYS[1], #start + 1)) == 1
remove_version(space, KEYS[1], found)
"""

_FINISH = """
if attributes ~= '' then redis.call('HSET', KEYS[1], 'attributes', attributes) end
if life ~= '' then
  redis.call('PEXPIRE', KEYS[1], life)
  redis.call('HSET', KEYS[1], 'expires', string.format('%.0f', now() + life * 1000))
end
if new then forget_some(KEYS[2], start) end
return {'done'}
"""

PUT = Script(
    _CHECK_CONDITION
    + _REPLACE
    + """
if size == '0' then
  redis.call('HSET', KEYS[1], 'etag', etag, 'size', size, 'modified', now())
else
  redis.call('HSET', KEYS[1], '0', ARGV[2], 'etag', etag, 'size', size, 'modified', now())
end
"""
    + _FINISH
)

#: Add a chunk to a draft, which expires if no further chunk is added.
ADD_CHUNK = Script("""
-- KEYS: draft. ARGV: number of the chunk, its bytes, milliseconds after which the draft expires
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
""")

PUBLISH = Script(
    _CHECK_CONDITION
    + "if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[2]) then return {'lost'} end"
    + _REPLACE
    + """
redis.call('RENAME', KEYS[3], KEYS[1])
redis.call('PERSIST', KEYS[1])
redis.call('HSET', KEYS[1], 'etag', etag, 'size', size, 'modified', now())
"""
    + _FINISH
)

COPY_OR_RENAME = Script(
    _NOW
    + _REMOVE
    + f"""
-- KEYS: source, target, index. ARGV: name of the source, of the target, etag, '' or 'absent', 'copy' or 'rename'
local target = redis.pcall('HMGET', KEYS[2], 'etag', 'size')
if target.err then
  if string.find(target.err, 'WRONGTYPE', 1, true) then return {{'occupied'}} end
  return target
end
if target[1] == ARGV[3] then return {{'done', ARGV[3]}} end
local found, size = unpack(redis.call('HMGET', KEYS[1], 'etag', 'size'))
if not found or not string.find(size or '', '^%d+$') then
  return {{redis.call('EXISTS', KEYS[1]) == 1 and 'damaged' or 'missing'}}
end
if ARGV[4] == 'absent' and redis.call('EXISTS', KEYS[2]) == 1 then return {{'refused'}} end
if KEYS[1] == KEYS[2] then return {{'done', found}} end
redis.call('ZADD', KEYS[3], 0, ARGV[2])
local space = space_of(KEYS[3])
remove_version(space, KEYS[2], target)
if ARGV[5] == 'rename' then
  if redis.call('EXISTS', space .. ':r:' .. found) == 1 then
    redis.call('COPY', KEYS[1], space .. ':v:' .. found)
    redis.call('PEXPIRE', space .. ':v:' .. found, {LEASE})
  end
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[1])
else
  redis.call('COPY', KEYS[1], KEYS[2])
end
redis.call('HSET', KEYS[2], 'etag', ARGV[3], 'modified', now())
return {{'done', ARGV[3]}}
"""
)

DELETE = Script(
    _REMOVE
    + """
-- KEYS: index, objects. ARGV: the etag to match, or '', with which several objects are allowed; keys
if ARGV[1] ~= '' then
  local current = redis.call('HGET', KEYS[2], 'etag')
  if current ~= ARGV[1] then return {'refused', current} end
end
local space = space_of(KEYS[1])
local kept = {} -- the numbers of those that are no hash, from 0
for number = 2, #KEYS do
  local info = redis.pcall('HMGET', KEYS[number], 'etag', 'size')
  if not info.err then
    remove_version(space, KEYS[number], info)
    redis.call('ZREM', KEYS[1], ARGV[number])
  elseif string.find(info.err, 'WRONGTYPE', 1, true) then
    kept[#kept + 1] = number - 2
  else
    return info
  end
end
return {'done', kept}
"""
)

#: A page of the index without expired objects: how many keys were read, the last of them, and the existing ones.
LIST = Script("""
-- KEYS: index. ARGV: the beginning of the names of objects, first and last key, how many, '' or 'describe'
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local existing = {}
for _, name in ipairs(names) do
  local info = redis.pcall('HMGET', ARGV[1] .. name, 'etag', 'size', 'modified', 'attributes', 'expires')
  if info.err then info = {''} end -- no hash, which is a damaged object
  if not info[1] and redis.call('EXISTS', ARGV[1] .. name) == 0 then
    redis.pcall('ZREM', KEYS[1], name) -- fails on a replica, or for a user who may only read
  elseif ARGV[5] == '' then
    existing[#existing + 1] = name
  else
    existing[#existing + 1] = {name, info[1] or '', info[2] or '', info[3] or '', info[4] or '', info[5] or ''}
  end
end
return {#names, names[#names] or '', existing}
""")

#: Fields of an object; nothing where there is none, which `HMGET` alone does not tell from a hash without these fields.
FIELDS = Script("""
-- KEYS: object. ARGV: names of fields
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
return redis.call('HMGET', KEYS[1], unpack(ARGV))
""")

#: The description and a part of one version of an object.
READ = Script(
    _NOW
    + f"""
-- KEYS: object. ARGV: '' or the version, first byte, the offset after the last byte or -1, '' or how many from the
-- end, how many at most, the beginning of all names
local name = KEYS[1]
local info = redis.call('HMGET', name, 'etag', 'size', 'modified', 'attributes', 'expires')
if ARGV[1] ~= '' and ARGV[1] ~= info[1] then
  name = ARGV[6] .. ':v:' .. ARGV[1]
  info = redis.call('HMGET', name, 'etag', 'size', 'modified', 'attributes', 'expires')
  if info[1] then redis.call('PEXPIRE', name, {LEASE}) end
end
if not info[1] and redis.call('EXISTS', name) == 0 then return {{}} end
if not info[1] or not string.find(info[2] or '', '^%d+$') or not info[3] then
  return {{info[1] or '', info[2] or '', info[3] or '', info[4] or '', info[5] or '', ''}} -- a damaged object
end
local expires = info[5] or ''
if ARGV[1] == '' then -- another program may have set the time to live
  local left = redis.pcall('PTTL', name)
  if type(left) == 'number' and left >= 0 then
    local at = now() + left * 1000
    if expires == '' or at < (tonumber(expires) or 0) - 1000000 then expires = string.format('%.0f', at) end
  end
end
local size, start, stop = tonumber(info[2]), tonumber(ARGV[2]), tonumber(ARGV[3])
if ARGV[4] ~= '' then start = math.max(size - tonumber(ARGV[4]), 0) end
if stop < 0 or stop > size then stop = size end
if ARGV[1] ~= '' or stop - start > tonumber(ARGV[5]) then
  local readers = ARGV[6] .. ':r:' .. info[1]
  if ARGV[1] == '' then redis.pcall('INCR', readers) end -- a user who may only read has no lease
  redis.pcall('PEXPIRE', readers, {LEASE})
end
stop = math.min(stop, start + tonumber(ARGV[5]))
local parts = {{}}
for offset = start - start % {CHUNK}, stop - 1, {CHUNK} do
  local chunk = redis.call('HGET', name, string.format('%.0f', offset / {CHUNK}))
  parts[#parts + 1] = string.sub(chunk or '', math.max(start - offset, 0) + 1, stop - offset)
end
return {{info[1], info[2], info[3], info[4] or '', expires, table.concat(parts)}}
"""
)

#: Close a reader; the last reader of a version removes the data that was kept for it.
RELEASE = Script("""
-- KEYS: number of readers, version. ARGV: none
if redis.call('DECR', KEYS[1]) <= 0 then redis.call('UNLINK', KEYS[1], KEYS[2]) end
""")
