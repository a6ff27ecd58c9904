-- What wrk sends, by the words behind `--`, and its figures in a form that a program reads.
--   plain            the request of the command line, again and again
--   pipelined N      N of them at once
--   keys N all       /size/1024?k=0, 1, 2 ... N-1, and from the start again
--   keys N any       one of them at random

local function keys(count, order)
  local next_key = -1
  if order == "any" then
    math.randomseed(os.time())
    next_key = function() return math.random(0, count - 1) end
  else
    local last = -1
    next_key = function() last = (last + 1) % count; return last end
  end
  local head, tail = "GET /size/1024?k=", " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n\r\n"
  return function() return head .. next_key() .. tail end
end

function init(args)
  if args[1] == "pipelined" then
    local batch = string.rep(wrk.format(), tonumber(args[2]))
    request = function() return batch end
  elseif args[1] == "keys" then
    request = keys(tonumber(args[2]), args[3])
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nfigures {"requests":%d,"bytes":%d,"us":%d,"p50_us":%d,"p99_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
