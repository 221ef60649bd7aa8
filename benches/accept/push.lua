-- The same signed push under a new delivery id each time; refused answers are counted apart.
local file = assert(io.open(os.getenv("BODY"), "rb"))
local body = file:read("*a")
file:close()
local counter = 0
local start = os.time()

wrk.method = "POST"

function request()
  counter = counter + 1
  return wrk.format("POST", nil, {
    ["Content-Type"] = "application/json",
    ["X-GitHub-Event"] = "push",
    ["X-GitHub-Delivery"] = string.format("%d-%d-%s", start, counter, tostring(body):len()) .. "-" .. tostring({}):sub(8),
    ["X-Hub-Signature-256"] = "sha256=" .. os.getenv("SIGNATURE"),
  }, body)
end

function done(summary, latency)
  local refused = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  local good = summary.requests - summary.errors.status
  io.write(string.format("RESULT %.1f %d %d %d %d\n", good / (summary.duration / 1e6), good, latency:percentile(50), latency:percentile(99), refused))
end
