-- One breaker, as `machine.rs` has it. Everything is one hash, and one step of one breaker is one run of this script.
--
-- KEYS[1]  the breaker
-- ARGV     what happened: look, admit, success, failure, release
--          how many failures open it; how long it stays open, how long its window is (0: none), how long it is
--          remembered, all in milliseconds
--          period and trial of the ticket (look and admit: 0)
--
-- Answers phase (0 closed, 1 open, 2 half-open, -1 the key holds something else), failures, milliseconds until a trial,
-- period, latest trial, whether this call is the trial, whether what was there made no sense, and the key's type.

local key, input = KEYS[1], ARGV[1]
local threshold, open_for, window, memory = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local ticket = { period = tonumber(ARGV[6]), trial = tonumber(ARGV[7]) }
local CLOSED, OPEN, HALF_OPEN = 0, 1, 2

-- What is not ours is left alone.
local kind = redis.call('TYPE', key)['ok']
if kind ~= 'hash' and kind ~= 'none' then
  return { -1, 0, 0, 0, 0, 0, 0, kind }
end

local now = clock()
local changed, mended, granted = false, 0, 0
local phase, failures, times, due, period, trial

local function text(number)
  return string.format('%.0f', number)
end

local function forget()
  phase, failures, times, due, period, trial = CLOSED, 0, {}, 0, 0, 0
end

-- A count or a time as this script writes them; false for anything else.
local function number(field)
  if type(field) ~= 'string' or not string.find(field, '^%d+$') or #field > 15 then
    return false
  end
  return tonumber(field)
end

local function read()
  forget()
  if kind == 'none' then
    return true
  end
  local fields = redis.call('HMGET', key, 'phase', 'failures', 'due', 'period', 'trial', 'times')
  phase, failures, due = number(fields[1]), number(fields[2]), number(fields[3])
  period, trial = number(fields[4]), number(fields[5])
  if not (phase and failures and due and period and trial) or phase > HALF_OPEN or type(fields[6]) ~= 'string' then
    return false
  end
  for word in string.gmatch(fields[6], '%S+') do
    local time = number(word)
    if not time then
      return false
    end
    times[#times + 1] = time
  end
  return true
end

local function enter(next, until_then)
  phase, due, failures, times, trial = next, until_then, 0, {}, 0
  period = math.max(period + 1, now)
  changed = true
end

-- The failures that are in the window, the latest `threshold` of them. A time that is yet to come is of a clock that was
-- set back.
local function prune()
  local kept = {}
  for _, time in ipairs(times) do
    if time <= now and now - time < window then
      kept[#kept + 1] = time
    end
  end
  while #kept > threshold do
    table.remove(kept, 1)
  end
  times = kept
end

if not read() then
  redis.call('DEL', key)
  forget()
  mended = 1
end
if phase ~= CLOSED and due > now + open_for then
  -- Nobody waits longer than a breaker stays open, however the server's clock was set.
  due = now + open_for
  changed = true
end

local is_trial = ticket.trial > 0 and ticket.period == period and phase ~= CLOSED
local is_latest = is_trial and ticket.trial == trial

if input == 'admit' then
  if phase ~= CLOSED and now >= due then
    phase, due, trial, granted, changed = HALF_OPEN, now + open_for, trial + 1, 1, true
  end
elseif input == 'success' then
  if phase == CLOSED and ticket.period >= period and failures > 0 then
    failures, changed = 0, true
  elseif is_trial then
    enter(CLOSED, 0)
  end
elseif input == 'failure' then
  -- A period yet to come is one from before the server lost its memory.
  if phase == CLOSED and ticket.trial == 0 and ticket.period >= period then
    changed = true
    if window == 0 then
      failures = failures + 1
    else
      times[#times + 1] = now
      prune()
    end
    if failures >= threshold or #times >= threshold then
      enter(OPEN, now + open_for)
    end
  elseif is_latest then
    enter(OPEN, now + open_for)
  end
elseif input == 'release' then
  if is_latest then
    due, changed = 0, true
  end
end

if changed then
  redis.call('HSET', key, 'phase', text(phase), 'failures', text(failures), 'due', text(due), 'period', text(period),
    'trial', text(trial), 'times', table.concat(times, ' '))
  redis.call('PEXPIRE', key, text(memory))
end

if window > 0 then
  prune()
end
local counted = phase == CLOSED and math.max(failures, #times) or threshold
local left = phase == CLOSED and 0 or math.max(due - now, 0)
return { phase, counted, left, period, trial, granted, mended, kind }
