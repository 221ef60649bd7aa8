-- The same signed push under a new delivery id each time; refused answers are counted apart.
local file = assert(io.open(os.getenv("BODY"), "rb"))
local body = file:read("*a")
file:close()
local run = os.getenv("RUN")
local counter = 0

wrk.method = "POST"

function request()
  counter = counter + 1
  return wrk.format("POST", nil, {
    ["Content-Type"] = "application/json",
    ["X-GitHub-Event"] = "push",
    ["X-GitHub-Delivery"] = string.format("%s-%d", run, counter),
    ["X-Hub-Signature-256"] = "sha256=" .. os.getenv("SIGNATURE"),
  }, body)
end

function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  local good = summary.requests - errors.status
  io.write(string.format("RESULT %f %d %d %d %d\n", summary.duration / 1e6, good, latency:percentile(50), latency:percentile(99), errors.status + lost))
end
