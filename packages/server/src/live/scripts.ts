/**
 * The Lua scripts of presence and live values. Each comment lists the keys, arguments, reply and
 * cost of its script. A script runs in Redis as one step. It uses the time of that Redis and
 * returns only durations, so clocks of different machines are never compared. Every key has an
 * expiry, and every list a limit.
 *
 * If the remaining time of a lease exceeds the lifetime of leases, a Redis whose clock was ahead
 * has written it. Such a lease counts as ended.
 */
import type { RedisScript } from '../redis/redis.ts'

const nowMs = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

/**
 * Takes or refreshes a server's lease of a partition, and returns the leases that are alive.
 *
 * - KEYS: 1 leases (sorted set: lease → when it ends) · 2 time since which this partition's data is
 *   complete
 * - ARGV: 1 lease · 2 `new` or `keep` · 3 life of a lease, ms · 4 how long ended leases and the
 *   keys are kept, ms · 5 maximum number of leases
 * - Returns `[held, wholeForMs, lease, leftMs, lease, leftMs, …]`. `held` is 0 when the lease had
 *   ended or was lost, and was not taken. The users written under it then count as gone,
 *   permanently.
 * - Cost: O(leases of the partition), which is about the number of servers.
 */
export const refreshLease: RedisScript = {
  lua: `${nowMs}
local life, keep = tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - keep)
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
local held = 0
if ARGV[2] == 'new' or (ends > now and ends <= now + life) then
  redis.call('ZADD', KEYS[1], now + life, ARGV[1])
  held = 1
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[5]))
redis.call('SET', KEYS[2], now, 'NX', 'PX', keep)
local since = tonumber(redis.call('GET', KEYS[2]))
redis.call('PEXPIRE', KEYS[1], keep)
redis.call('PEXPIRE', KEYS[2], keep)
local reply = { held, math.max(0, now - since) }
local leases = redis.call('ZRANGEBYSCORE', KEYS[1], now + 1, now + life, 'WITHSCORES')
for i = 1, #leases, 2 do
  reply[#reply + 1] = leases[i]
  reply[#reply + 1] = tonumber(leases[i + 1]) - now
end
return reply`,
}

/**
 * Ends a lease now or soon. Used by a server that leaves or that holds a newer lease.
 *
 * - KEYS: 1 leases
 * - ARGV: 1 lease · 2 ms from now; 0 removes it at once
 * - Returns 1.
 * - Cost: O(log leases).
 */
export const endLease: RedisScript = {
  lua: `${nowMs}
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], 'XX', 'LT', now + tonumber(ARGV[2]), ARGV[1])
end
return 1`,
}

/**
 * Writes the status of users at one server: online, away or gone. Also removes entries of ended
 * leases.
 *
 * - KEYS: 1 leases · 2… one hash per user (lease → status, and `seen`)
 * - ARGV: 1 lease · 2 life of a lease, ms · 3 how long a user's hash is kept, ms · then for each
 *   user: status, empty when gone · time last seen (ISO), empty to keep the old one
 * - Returns `[held, changed, changed, …]`: 1 for each user whose status over all servers has
 *   changed, else 0. `[0]` means that the lease has ended and nothing was written.
 * - Cost: O(users × servers of that user + leases). Callers send at most 200 users.
 */
export const writePresence: RedisScript = {
  lua: `${nowMs}
local live = {}
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now + 1, now + tonumber(ARGV[2]))) do live[lease] = true end
if not live[ARGV[1]] then return { 0 } end
local reply = { 1 }
for k = 2, #KEYS do
  local status, seen = ARGV[2 * k], ARGV[2 * k + 1]
  local before, after = '', status
  local entries = redis.call('HGETALL', KEYS[k])
  for i = 1, #entries, 2 do
    local lease, said = entries[i], entries[i + 1]
    if live[lease] then
      if before ~= 'online' then before = said end
      if lease ~= ARGV[1] and after ~= 'online' then after = said end
    elseif lease ~= 'seen' then
      redis.call('HDEL', KEYS[k], lease)
    end
  end
  if status == '' then
    redis.call('HDEL', KEYS[k], ARGV[1])
  else
    redis.call('HSET', KEYS[k], ARGV[1], status)
  end
  if seen ~= '' then redis.call('HSET', KEYS[k], 'seen', seen) end
  redis.call('PEXPIRE', KEYS[k], ARGV[3])
  reply[k] = before == after and 0 or 1
end
return reply`,
}

/**
 * Reads the status of users at all servers except the calling server. Writes nothing.
 *
 * - KEYS: 1 leases · 2 time since which this partition's data is complete · 3… one hash per user
 * - ARGV: 1 prefix of the caller's own leases · 2 life of a lease, ms
 * - Returns `[wholeForMs, user, user, …]`, with each user as `[status, seen, endedForMs, lease,
 *   lease, …]`.
 *   - `status` is empty when the user is written under no lease that is alive.
 *   - `endedForMs` is the time since the last server that named the user was alive, or -1 when
 *     unknown.
 *   - `wholeForMs` is how long the data has been complete, or -1 when no server has written to this
 *     partition yet. Then an empty status does not mean offline.
 * - Cost: O(users × servers of that user + leases). Callers send at most 200 users.
 */
export const readPresence: RedisScript = {
  lua: `${nowMs}
local life = tonumber(ARGV[2])
local live = {}
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now + 1, now + life)) do live[lease] = true end
local since = tonumber(redis.call('GET', KEYS[2]) or '-1')
local reply = { since < 0 and -1 or math.max(0, now - since) }
for k = 3, #KEYS do
  local status, seen, ended = '', '', -1
  local leases = {}
  local entries = redis.call('HGETALL', KEYS[k])
  for i = 1, #entries, 2 do
    local lease, said = entries[i], entries[i + 1]
    if lease == 'seen' then
      seen = said
    elseif string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then
      if live[lease] then
        leases[#leases + 1] = lease
        if status ~= 'online' then status = said end
      else
        local ends = tonumber(redis.call('ZSCORE', KEYS[1], lease) or '0')
        local ago = now - (ends - life)
        if ends > 0 and ago >= 0 and (ended < 0 or ago < ended) then ended = ago end
      end
    end
  end
  local user = { status, seen, ended }
  for i = 1, #leases do user[3 + i] = leases[i] end
  reply[k - 1] = user
end
return reply`,
}

/**
 * Stores live values of one conversation for servers that open it later. A value never replaces a
 * newer one.
 *
 * - KEYS: 1 the conversation's values (hash: `key user` → when it ends, order, origin, value) · 2
 *   keys of each user (hash: user → keys, the oldest one first)
 * - ARGV: 1 maximum number of values · 2 how long the hashes are kept, ms · 3 maximum number of
 *   values per user · then for each value: field · order · origin · life, ms · JSON
 * - Returns the number of values that were stored. A value is not stored when a newer value is
 *   already stored for the same key and user.
 * - Cost: O(values written × maximum per user). O(maximum of values) when values of several users
 *   exceed it: then ended values are evicted first, and after them the values that end next. If the
 *   user who sets a value is over a limit, older values of that user are evicted first.
 */
export const keepLiveValues: RedisScript = {
  lua: `${nowMs}
local values, own = KEYS[1], KEYS[2]
local most, mostOfUser = tonumber(ARGV[1]), tonumber(ARGV[3])
local function isOver(field)
  local known = redis.call('HGET', values, field)
  return not known or tonumber(string.match(known, '^%d+') or '0') <= now
end
local kept = 0
local held = {}
for i = 4, #ARGV, 5 do
  local field, order, origin = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = redis.call('HGET', values, field)
  local isNewer = true
  if known then
    local ends, knownOrder, knownOrigin = string.match(known, '^(%d+)|(%d+)|([^|]*)|')
    -- Values that have expired, or cannot be parsed, are always replaced.
    if ends and tonumber(ends) > now then
      knownOrder = tonumber(knownOrder)
      local asked = tonumber(order)
      isNewer = asked > knownOrder or (asked == knownOrder and origin > knownOrigin)
    end
  end
  if isNewer then
    local ends = string.format('%.0f', now + tonumber(ARGV[i + 3]))
    redis.call('HSET', values, field, ends .. '|' .. order .. '|' .. origin .. '|' .. ARGV[i + 4])
    kept = kept + 1
    local key, user = string.match(field, '^(%S+) (%S+)$')
    if user then
      local keys = {}
      for other in string.gmatch(held[user] or redis.call('HGET', own, user) or '', '%S+') do
        if other ~= key then keys[#keys + 1] = other end
      end
      keys[#keys + 1] = key
      if #keys > mostOfUser then
        local live = {}
        for _, other in ipairs(keys) do
          local name = other .. ' ' .. user
          if isOver(name) then redis.call('HDEL', values, name) else live[#live + 1] = other end
        end
        keys = live
        while #keys > mostOfUser do redis.call('HDEL', values, table.remove(keys, 1) .. ' ' .. user) end
      end
      held[user] = table.concat(keys, ' ')
    end
  end
end
for user, text in pairs(held) do
  local keys = {}
  for key in string.gmatch(text, '%S+') do keys[#keys + 1] = key end
  while #keys > 1 and redis.call('HLEN', values) > most do
    redis.call('HDEL', values, table.remove(keys, 1) .. ' ' .. user)
  end
  redis.call('HSET', own, user, table.concat(keys, ' '))
end
if redis.call('HLEN', values) > most then
  local entries = redis.call('HGETALL', values)
  local list = {}
  for i = 1, #entries, 2 do
    list[#list + 1] = { tonumber(string.match(entries[i + 1], '^%d+') or '0'), entries[i] }
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  local left = #list
  for _, entry in ipairs(list) do
    if entry[1] > now and left <= most then break end
    redis.call('HDEL', values, entry[2])
    left = left - 1
  end
end
-- Users whose values have expired stay in it. After this, they may hold twice as many for a minute.
if redis.call('HLEN', own) > most then redis.call('DEL', own) end
redis.call('PEXPIRE', values, ARGV[2])
redis.call('PEXPIRE', own, ARGV[2])
return kept`,
}

/**
 * Reads the live values of one conversation that have not ended.
 *
 * - KEYS: 1 the conversation's values
 * - ARGV: none
 * - Returns `[field, order, origin, leftMs, JSON, …]`.
 * - Cost: O(values), limited by {@link keepLiveValues}. Ended values are removed on the way.
 */
export const readLiveValues: RedisScript = {
  lua: `${nowMs}
local reply = {}
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local ends, order, origin, json = string.match(entries[i + 1], '^(%d+)|(%d+)|([^|]*)|(.*)$')
  local left = tonumber(ends or '0') - now
  if left <= 0 then
    redis.call('HDEL', KEYS[1], entries[i])
  else
    for _, part in ipairs({ entries[i], order, origin, left, json }) do reply[#reply + 1] = part end
  end
end
return reply`,
}
