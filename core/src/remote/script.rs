//! Script: what Redis has to do in one step, since it depends on what is there.
//!
//! Each works on one key, or on two of one slot, so all of them run on a cluster. The header of an entry is its first 20 bytes (`docs/envelope.md`):
//! magic, format, kind and a token that no other entry has; comparing it says whether anything happened to the key meanwhile.

/// A script in Redis's Lua.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// What it is called in messages.
    pub name: &'static str,
    /// How many of its arguments, the first ones, are keys.
    pub keys: usize,
    /// Its text.
    pub text: &'static str,
}

/// `header entry milliseconds`: stores the entry in the place of the one with this header. 1: done; 2: it is there already, as
/// the reply to an earlier attempt got lost; 0: something else is there, or nothing.
///
/// It reads once more what it wrote: a connection that is told of changes is told no more of a key that it wrote itself, until it
/// reads it again, and between two commands another may have written.
pub static FILL: Script = Script {
    name: "fill",
    keys: 1,
    text: "local have = redis.call('GETRANGE', KEYS[1], 0, 19)
if have == '' or have ~= ARGV[1] then
  if have ~= '' and have == string.sub(ARGV[2], 1, 20) then return 2 end
  return 0
end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
redis.call('GETRANGE', KEYS[1], 0, 0)
return 1",
};

/// `header milliseconds`: lets a lease last so much longer from now on. 1: done; 0: it is void.
pub static RENEW: Script = Script {
    name: "renew",
    keys: 1,
    text: "if redis.call('GETRANGE', KEYS[1], 0, 19) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
};

/// `header`: removes the entry with this header. 1: done; 0: something else is there, or nothing.
pub static RELEASE: Script = Script {
    name: "release",
    keys: 1,
    text: "if redis.call('GETRANGE', KEYS[1], 0, 19) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])",
};

/// `header soft hard milliseconds`: gives the entry with this header another life, its token staying as it is; a counter, whose
/// header is all of it, has only the milliseconds. 0 of them mean for ever. 1: done; 0: something else is there, or nothing.
pub static TOUCH: Script = Script {
    name: "touch",
    keys: 1,
    text: "local have = redis.call('GETRANGE', KEYS[1], 0, 19)
if have == '' or have ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then
  redis.call('SETRANGE', KEYS[1], 20, ARGV[2])
  redis.call('SETRANGE', KEYS[1], 28, ARGV[3])
end
if ARGV[4] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1",
};

/// `by milliseconds dead alive`: adds to a counter, which is made where there is none; its time to live is set then alone.
/// An entry with header `dead` counts as none. One with tags is given back to be judged unless its header is `alive`: a
/// list of one. Else the sum, as text: Lua's numbers lose digits.
pub static INCREMENT: Script = Script {
    name: "increment",
    keys: 1,
    text: "local have = redis.call('GET', KEYS[1])
if have and string.sub(have, 1, 2) == '\\193D' then
  local header = string.sub(have, 1, 20)
  if string.byte(have, 3) ~= 1 then return redis.error_reply('NOTACOUNTER') end
  if string.sub(have, 4, 4) ~= 'V' or header == ARGV[3] then
    redis.call('UNLINK', KEYS[1])
    have = false
  else
    if string.byte(have, 37) % 2 == 1 and header ~= ARGV[4] then return {have} end
    local a, b, c, d = string.byte(have, 41, 44)
    local length = ((a * 256 + b) * 256 + c) * 256 + d
    local text = length > 0 and string.sub(have, -length) or ''
    if string.byte(have, 38) ~= 1 or not string.match(text, '^-?%d+$') then return redis.error_reply('NOTACOUNTER') end
    redis.call('SET', KEYS[1], text, 'KEEPTTL')
  end
elseif have and not string.match(have, '^-?%d+$') then
  return redis.error_reply('NOTACOUNTER')
end
redis.call('INCRBY', KEYS[1], ARGV[1])
if not have and ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])",
};

/// `epoch most tag…`: writes a version later than any before on these tags of one table. Forgets the older half of them where
/// there are more than `most`, and raises the floor to the latest version it forgets.
pub static MOVE_TAGS: Script = Script {
    name: "move-tags",
    keys: 1,
    text: "local key = KEYS[1]
redis.call('HSETNX', key, '\\0epoch', ARGV[1])
local time = redis.call('TIME')
local version = math.max(tonumber(redis.call('HGET', key, '\\0seq') or '0') + 1, time[1] * 1000000 + time[2])
local written = string.format('%.0f', version)
redis.call('HSET', key, '\\0seq', written)
for i = 3, #ARGV do redis.call('HSET', key, ARGV[i], written) end
if redis.call('HLEN', key) > tonumber(ARGV[2]) then
  local all, versions = redis.call('HGETALL', key), {}
  for i = 1, #all, 2 do
    if string.byte(all[i], 1) ~= 0 then versions[#versions + 1] = tonumber(all[i + 1]) end
  end
  table.sort(versions)
  local floor = versions[math.floor(#versions / 2)]
  for i = 1, #all, 2 do
    if string.byte(all[i], 1) ~= 0 and tonumber(all[i + 1]) <= floor then redis.call('HDEL', key, all[i]) end
  end
  redis.call('HSET', key, '\\0floor', string.format('%.0f', floor))
end
return 1",
};

/// `token milliseconds`: takes a lock that is free; the name of its count is its own with `#fence` behind it. Gives the number of
/// this holder, which is later than any before, or 0 where another has it.
pub static ACQUIRE: Script = Script {
    name: "acquire",
    keys: 2,
    text: "if redis.call('GET', KEYS[1]) ~= ARGV[1] and not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
local time = redis.call('TIME')
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('SET', KEYS[2], string.format('%.0f', fence))
return fence",
};

/// `token milliseconds`: lets a lock last so much longer from now on. 1: done; 0: it is another's by now, or free.
pub static EXTEND: Script = Script {
    name: "extend",
    keys: 1,
    text: "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
};

/// `token channel`: gives a lock back and tells those who wait. 1: done; 0: it is another's by now, or free.
pub static UNLOCK: Script = Script {
    name: "unlock",
    keys: 1,
    text: "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('PUBLISH', ARGV[2], '')
return 1",
};

/// `header`: removes what is there, unless it is a hold-down with another header. 1: done; 0: that is there, or nothing.
pub static LIFT: Script = Script {
    name: "lift",
    keys: 1,
    text: "local have = redis.call('GETRANGE', KEYS[1], 0, 19)
if string.sub(have, 1, 2) == '\\193D' and string.sub(have, 4, 4) == 'T' and have ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])",
};

/// `record most`: adds a record to the list of what is being swept, behind all others, in the place of one with the same pattern. Gives
/// the list, or nothing where it has `most` records. What is no record ends the list, and is gone.
pub static WRITE_DOWN: Script = Script {
    name: "write-down",
    keys: 1,
    text: "local list = redis.call('GET', KEYS[1]) or ''
local id, pattern = string.sub(ARGV[1], 1, 8), string.sub(ARGV[1], 15)
local kept, at = {}, 1
while at + 13 <= #list do
  local last = at + 13 + string.byte(list, at + 12) * 256 + string.byte(list, at + 13)
  if last > #list then break end
  if string.sub(list, at, at + 7) == id then return list end
  if string.sub(list, at + 14, last) ~= pattern then kept[#kept + 1] = string.sub(list, at, last) end
  at = last + 1
end
if #kept >= tonumber(ARGV[2]) then return false end
kept[#kept + 1] = ARGV[1]
list = table.concat(kept)
redis.call('SET', KEYS[1], list)
return list",
};

/// `id was is`: gives a record another beat, if its beat is what it was. 1: done; 0: another has raised it, or it is gone.
pub static RAISE: Script = Script {
    name: "raise",
    keys: 1,
    text: "local list = redis.call('GET', KEYS[1]) or ''
local at = 1
while at + 13 <= #list do
  if string.sub(list, at, at + 7) == ARGV[1] then
    if string.sub(list, at + 8, at + 11) ~= ARGV[2] then return 0 end
    redis.call('SETRANGE', KEYS[1], at + 7, ARGV[3])
    return 1
  end
  at = at + 14 + string.byte(list, at + 12) * 256 + string.byte(list, at + 13)
end
return 0",
};

/// `id`: strikes a record off the list, and the list once nothing is in it. Gives what is left.
pub static STRIKE: Script = Script {
    name: "strike",
    keys: 1,
    text: "local list = redis.call('GET', KEYS[1]) or ''
local at = 1
while at + 13 <= #list do
  local last = at + 13 + string.byte(list, at + 12) * 256 + string.byte(list, at + 13)
  if string.sub(list, at, at + 7) == ARGV[1] then
    list = string.sub(list, 1, at - 1) .. string.sub(list, last + 1)
    if list == '' then redis.call('UNLINK', KEYS[1]) else redis.call('SET', KEYS[1], list) end
    break
  end
  at = last + 1
end
return list",
};

/// All of them. A host that names them by number counts in this order.
pub static ALL: [&Script; 13] = [
    &FILL,
    &RENEW,
    &RELEASE,
    &TOUCH,
    &INCREMENT,
    &MOVE_TAGS,
    &ACQUIRE,
    &EXTEND,
    &UNLOCK,
    &LIFT,
    &WRITE_DOWN,
    &RAISE,
    &STRIKE,
];
