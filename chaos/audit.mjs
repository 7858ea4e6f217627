// The auditor: compares the receiving systems' logs with what softbounce reports, message by message. It knows only the promises
// and the public contract, not the code.

/**
 * @param run
 * - `lives`: `{ id, recipient, system, kind, viaRelay, bouncedAt, delaysMs }`, times in ms
 * - `contacts`: the receiving systems' log (systems.mjs)
 * - `results`: by recipient, `{ status, result }` of its workflow
 * - `attempts`: the attempt log, `suppressions`: the active entries
 * - `faults`: what went wrong, and when; `settings`: `{ rate, skewMs, perConnection }`
 * @returns findings by promise, each a sentence; `duplicates` that a fault explains; and counts.
 */
export function audit(run) {
  const findings = {
    lost: [],
    early: [],
    'counted without contact': [],
    'wrongly suppressed': [],
    'above the rate': [],
    'sent twice': [],
    other: [],
  }
  const explained = []
  const byRecipient = groupBy(
    run.contacts.filter(({ recipient }) => recipient !== null),
    ({ recipient }) => recipient,
  )
  const attemptsOf = groupBy(run.attempts, ({ recipient }) => recipient)
  const suppressed = new Set(run.suppressions.map(({ address }) => address))
  const outcomes = {}
  for (const life of run.lives) {
    const contacts = byRecipient.get(life.recipient) ?? []
    const attempts = attemptsOf.get(life.recipient) ?? []
    const standing = run.results.get(life.recipient)
    const taken = contacts.filter((one) => one.taken)
    const outcome = standing?.result?.outcome ?? null
    outcomes[outcome ?? 'none'] = (outcomes[outcome ?? 'none'] ?? 0) + 1
    const say = (of, text) => findings[of].push(`${life.recipient} (${life.kind}): ${text}`)

    // promise 1: exactly one end
    if (outcome === null) say('lost', `it has no end: ${standing?.status ?? 'it was never started'} ${standing?.failure ?? ''}`)
    else if (outcome === 'delivered' && taken.length === 0) {
      // whether a system has a message whose connection it closed after the final dot cannot be known (RFC 1047)
      const unknown = standing.result.confirmed === false && attempts.every((one) => one.maybe_delivered === 1)
      if (unknown) explained.push(`${life.recipient}: each attempt lost its connection after the final dot: delivered, unconfirmed`)
      else say('lost', 'it counts as delivered, and no system has it')
    } else if (
      outcome !== 'delivered' &&
      taken.some((one) => one.said !== null) &&
      !faultNear(
        run,
        taken.find((one) => one.said !== null),
      )
    )
      say('other', `it was taken, and counts as ${outcome}`)
    if (standing?.result && standing.result.retries > life.delaysMs.length)
      say('other', `${standing.result.retries} retries of ${life.delaysMs.length}`)

    // promise 2: never early
    early(life, contacts, attempts, run, (text) => say('early', text))

    // promise 3: only the receiving system's own answers use up retries
    for (const attempt of attempts) {
      const fault = withoutContact(attempt, contacts, run)
      if (fault !== null) say('counted without contact', `retry ${attempt.retry}: ${fault}`)
    }

    // promise 5: suppressed only after every retry was refused, or for good
    const last = attempts.at(-1)
    const gone = outcome === 'rejected' && last?.status === '5.1.1'
    const should = outcome === 'suppressed' || gone
    if (suppressed.has(life.recipient) !== should)
      say('wrongly suppressed', should ? 'it is not on the list' : `it is on the list, and counts as ${outcome}`)
    if (outcome === 'suppressed' && (attempts.length < life.delaysMs.length || attempts.some((one) => one.outcome !== 'deferred')))
      say('wrongly suppressed', `after ${attempts.map((one) => one.outcome).join(', ')}`)

    // promise 6: sent once, unless the reply was in flight
    for (const again of taken.slice(1)) {
      const before = taken[taken.indexOf(again) - 1]
      const why = before.said === null ? 'the system took it and said nothing' : faultNear(run, before)
      if (why === null) say('sent twice', `taken at ${iso(before.at)} by ${before.ehlo} and again at ${iso(again.at)} by ${again.ehlo}`)
      else explained.push(`${life.recipient}: ${why}`)
    }
  }
  for (const address of suppressed)
    if (!run.lives.some(({ recipient }) => recipient === address)) findings['wrongly suppressed'].push(`${address} was never written to`)
  rates(run, findings['above the rate'])
  return { findings, explained, outcomes }
}

/** Retries are due their delay after the bounce, or after the answer to the previous retry. */
function early(life, contacts, attempts, run, say) {
  // workers' clocks differ, and one worker uses times that another recorded
  const tolerance = 2 * run.settings.skewMs + 50
  for (const [i, attempt] of attempts.entries()) {
    const before = i === 0 ? { at: life.bouncedAt } : attempts[i - 1]
    const due = before.at + life.delaysMs[attempt.retry - 1]
    const from = i === 0 ? 0 : attempts[i - 1].at
    const first = contacts.find((one) => one.step === 'RCPT' && one.at > from + tolerance && one.at <= attempt.at + tolerance)
    if (first !== undefined && first.at < due - tolerance) say(`retry ${attempt.retry} came ${due - first.at} ms early`)
  }
}

const BEFORE_RCPT = ['connect', 'banner', 'EHLO', 'STARTTLS', 'MAIL']

/** Why a logged answer cannot be real; null if the receiving system's own log confirms it. */
function withoutContact(attempt, contacts, run) {
  const { skewMs } = run.settings
  const within = ({ at }) => at >= attempt.begun_at - skewMs - 1000 && at <= attempt.at + skewMs + 1000
  if (attempt.outcome === 'accepted')
    return contacts.some((one) => one.taken && one.said !== null && within(one)) ? null : 'accepted, and no system took it then'
  if (BEFORE_RCPT.includes(attempt.stage)) {
    // not about one recipient: any failed connection to that destination confirms it
    const near = run.contacts.some((one) => one.system === attempt.destination && within(one) && (one.refused || one.drops || one.stalls))
    return near ? null : `${attempt.stage}: ${attempt.reply}, and the system says nothing of it`
  }
  const said = contacts.some((one) => within(one) && (one.refused || one.drops || one.stalls))
  return said ? null : `${attempt.stage}: ${attempt.reply}, and the system says nothing of it`
}

/** The fault that hit while a reply was in flight, or while the answer could not be recorded. */
function faultNear(run, { at, ehlo }) {
  const near = run.faults.find(({ kind, worker, at: from, until }) => {
    if (worker !== undefined && worker !== ehlo) return false
    if (kind === 'relay away' || kind.startsWith('Temporal') || kind === 'connections to temporal cut') return false
    return from <= at + IN_FLIGHT_MS && (until ?? Number.MAX_SAFE_INTEGER) >= at - IN_FLIGHT_MS
  })
  return near === undefined ? null : `${near.kind} ${near.worker ?? ''} at ${iso(near.at)}, when it was answered at ${iso(at)}`
}

/** Upper bound for a final dot's reply, its database write, and the heartbeat that carries it. */
const IN_FLIGHT_MS = 5000

/** Checks the messages started to each receiving system, in any window, against the rate limit. */
function rates(run, found) {
  const { rate } = run.settings
  for (const [system, contacts] of groupBy(
    run.contacts.filter(({ step }) => step === 'connect' || step === 'MAIL'),
    ({ system }) => system,
  )) {
    // a session's first message counts as its connection
    const starts = []
    const fresh = new Set()
    for (const { step, connection, at } of contacts) {
      if (step === 'connect') {
        fresh.add(connection)
        starts.push(at)
      } else if (!fresh.delete(connection)) starts.push(at)
    }
    starts.sort((a, b) => a - b)
    for (const ms of [5000, 10_000]) {
      let most = 0
      for (let i = 0, j = 0; j < starts.length; j += 1) {
        while (starts[j] - starts[i] >= ms) i += 1
        most = Math.max(most, j - i + 1)
      }
      // tolerates one: a delayed start may coincide with the next
      if (most > (rate * ms) / 1000 + 1 && system !== run.settings.relay)
        found.push(`${system}: ${most} in ${ms / 1000} s, where ${(rate * ms) / 1000} are allowed`)
    }
  }
}

function groupBy(list, keyOf) {
  const groups = new Map()
  for (const one of list) {
    const key = keyOf(one)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [one])
    else group.push(one)
  }
  return groups
}

const iso = (ms) => new Date(ms).toISOString().slice(11, 23)
