-- Fetch: acknowledges messages, then moves messages from the queues to the unacknowledged messages, where kombu keeps them.
-- Redis runs the script atomically, so a message is always either in its queue or unacknowledged.
--
-- KEYS[1]    hash of the unacknowledged messages: delivery tag -> [message, exchange, routing key]
-- KEYS[2]    sorted set of their delivery tags, scored by the time of the fetch
-- KEYS[3..]  lists to fetch from, in this order; the oldest message is at the right end
-- ARGV[1]    time of the fetch in seconds since 1970
-- ARGV[2]    number of messages to fetch at most
-- ARGV[3..]  delivery tags to acknowledge
--
-- Returns a flat array with three items per fetched message: list, delivery tag, message text.
-- An entry that is not a kombu message is removed from its list without being stored as
-- unacknowledged, and is returned with an empty delivery tag.

local unacked, index, now, limit = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
-- A script is not rolled back: LLEN fails on a key of the wrong type before anything is moved.
for i = 3, #KEYS do redis.call('LLEN', KEYS[i]) end
-- A full Redis refuses the HSET below unless the script has already written something.
redis.call('ZREM', index, '')
for i = 3, #ARGV do
  redis.call('HDEL', unacked, ARGV[i])
  redis.call('ZREM', index, ARGV[i])
end
local fetched = {}
for i = 3, #KEYS do
  while #fetched < limit * 3 do
    local text = redis.call('LINDEX', KEYS[i], -1)
    if not text then break end
    local is_json, message = pcall(cjson.decode, text)
    local properties = is_json and type(message) == 'table' and message.properties
    local tag = type(properties) == 'table' and properties.delivery_tag
    local route = type(properties) == 'table' and properties.delivery_info
    if type(tag) == 'string' and tag ~= '' and type(route) == 'table'
        and type(route.exchange) == 'string' and type(route.routing_key) == 'string' then
      local names = cjson.encode(route.exchange) .. ',' .. cjson.encode(route.routing_key)
      redis.call('HSET', unacked, tag, '[' .. text .. ',' .. names .. ']')
      redis.call('ZADD', index, now, tag)
    else
      tag = ''
    end
    redis.call('RPOP', KEYS[i])
    fetched[#fetched + 1] = KEYS[i]
    fetched[#fetched + 1] = tag
    fetched[#fetched + 1] = text
  end
end
return fetched
