/** The report for a terminal: at most 80 columns, in plain text. */
import type { Figures } from './figures.js'
import { brief, duration, minute, number, OUTCOMES, percent, several, WEEKDAYS } from './format.js'
import { columns, heading, wrapped } from './text-layout.js'
import { trialText } from './trial-text.js'
import { whatIfText } from './what-if/text.js'

const BLOCKS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']
const SHADES = [' ', '░', '▒', '▓', '█']
const MOST_DAYS = 31

export function textReport(figures: Figures): string {
  const { since, until, answers, started, bounces } = figures
  const lines = [`softbounce report  ${minute(since)} to ${minute(until)} UTC`, '']
  const came = bounces.reduce((sum, { count }) => sum + count, 0)
  const ended = Object.entries(figures.ended)
  if (came === 0 && started === 0 && answers.attempts === 0 && ended.length === 0 && figures.outages.length === 0)
    return `${[...lines, 'Nothing has bounced, and nothing was retried in this time.', ...(figures.whatIf === undefined ? [] : whatIfText(figures.whatIf))].join('\n')}\n`
  lines.push(
    ...wrapped(
      `${several(came, 'bounce')} came to the intake, ${several(started, 'message')} began to be retried, ${several(answers.attempts, 'retry', 'retries')} answered, ${number(answers.notNow)} of them with 4.3.2 (${percent(answers.attempts === 0 ? 0 : answers.notNow / answers.attempts)}).`,
    ),
  )
  if (ended.length > 0)
    lines.push(...wrapped(`Ended: ${ended.map(([outcome, n]) => `${number(n)} ${OUTCOMES[outcome] ?? outcome}`).join(', ')}.`))
  return `${[...lines, ...steps(figures), ...systems(figures), ...outages(figures), ...days(figures), ...week(figures), ...delivery(figures), ...suppressions(figures), ...changes(figures), ...trialText(figures.trial), ...(figures.whatIf === undefined ? [] : whatIfText(figures.whatIf))].join('\n')}\n`
}

function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8)
  return '█'.repeat(Math.floor(eighths / 8)) + (BLOCKS[eighths % 8] as string)
}

function steps({ steps, answers, backup }: Figures): string[] {
  if (steps.length === 0) return byBackup(backup)
  const rows = steps.map(({ retry, sent, accepted, deferred, rejected, earnedShare, acceptedShare }) => [
    `retry ${retry}`,
    ...[sent, accepted, deferred, rejected].map(number),
    percent(acceptedShare),
    percent(earnedShare),
    bar(earnedShare, 10),
  ])
  const byRelay = steps.reduce((sum, step) => sum + step.byRelay, 0)
  return [
    ...heading('What each retry earns'),
    ...columns([['', 'sent', 'accepted', 'deferred', 'rejected', 'share', 'of all', ''], ...rows], [0, 7]),
    ...(byRelay > 0
      ? wrapped(`${number(byRelay)} of ${number(answers.accepted)} accepted ones were taken by a relay, and no word of them has come.`)
      : []),
    ...byBackup(backup),
  ]
}

function byBackup({ sent, accepted, deferred, rejected }: Figures['backup']): string[] {
  if (sent === 0) return []
  return wrapped(
    `By the backup relay, beside their retries: ${several(sent, 'message')} sent, ${number(accepted)} accepted, ${number(deferred)} deferred, ${number(rejected)} rejected.`,
  )
}

function systems({ worst, systems }: Figures): string[] {
  if (worst.length === 0) return []
  const rows = worst.map((one) => [
    one.destination,
    number(one.attempts),
    number(one.notNow),
    percent(one.deferred / one.attempts),
    number(one.outages),
    brief(one.medianOutageMs),
    brief(one.worstOutageMs),
    one.downSince !== null ? 'DOWN' : one.failingSince !== null ? 'failing' : 'well',
  ])
  return [
    ...heading(systems > worst.length ? `The worst ${worst.length} of ${number(systems)} destinations` : 'Destinations, the worst first'),
    ...columns([['', 'retries', '4.3.2', 'deferred', 'outages', 'median', 'worst', 'now'], ...rows], [0, 7]),
  ]
}

const MOST_OUTAGES = 10

function outages({ outages, until }: Figures): string[] {
  if (outages.length === 0) return []
  const rows = outages
    .slice(0, MOST_OUTAGES)
    .map(({ destination, beganAt, endedAt, status }) => [
      destination,
      minute(beganAt),
      endedAt === null ? 'goes on' : minute(endedAt),
      brief((endedAt ?? new Date(until)).getTime() - beganAt.getTime()),
      status,
    ])
  return [...heading('The longest outages'), ...columns([['', 'from', 'to', 'for', 'said'], ...rows], [0, 1, 2, 4])]
}

function days({ days }: Figures): string[] {
  // skip the days before the first 4.3.2
  const first = Math.max(
    0,
    days.findIndex(({ notNow, bounced }) => notNow + bounced > 0),
  )
  const shown = days.slice(first).slice(-MOST_DAYS)
  const most = Math.max(0, ...shown.map(({ notNow, bounced }) => notNow + bounced))
  if (most === 0) return []
  const rows = shown.map(({ day, notNow, bounced }) => [day, number(bounced), number(notNow), bar((notNow + bounced) / most, 40)])
  return [
    ...heading(days.length - first > shown.length ? `4.3.2 per day, the last ${MOST_DAYS}` : '4.3.2 per day'),
    ...columns([['', 'bounced', 'retries', ''], ...rows], [0, 3]),
  ]
}

function week({ week }: Figures): string[] {
  const most = Math.max(0, ...week.flat())
  if (most === 0) return []
  const shade = (n: number) => (SHADES[n === 0 ? 0 : Math.max(1, Math.ceil((n / most) * (SHADES.length - 1)))] as string).repeat(2)
  return [
    ...heading('4.3.2 by hour of the week, UTC'),
    `     0           6           12          18`,
    ...week.map((hours, day) => `${WEEKDAYS[day]}  ${hours.map(shade).join('')}`.trimEnd()),
    `     ${SHADES.slice(1)
      .map((s, i) => ({ s, upTo: Math.ceil((most * (i + 1)) / (SHADES.length - 1)), from: Math.ceil((most * i) / (SHADES.length - 1)) }))
      // with few counts, some shades cover no number
      .filter(({ upTo, from }) => upTo > from)
      .map(({ s, upTo }) => `${s}${s} up to ${number(upTo)}`)
      .join('   ')}`,
  ]
}

function delivery({ delivery }: Figures): string[] {
  const { delivered, medianMs, p90Ms, buckets } = delivery
  if (delivered === 0) return []
  const rows = buckets.map(({ upToMs, delivered: n }, i) => [
    upToMs === null ? `longer than ${duration(buckets[i - 1]?.upToMs ?? null)}` : `up to ${duration(upToMs)}`,
    number(n),
    percent(n / delivered),
    bar(n / delivered, 40),
  ])
  return [
    ...heading('From the bounce to the delivery'),
    `half within ${duration(medianMs)}, nine of ten within ${duration(p90Ms)} (${number(delivered)} confirmed)`,
    ...columns(rows, [0, 3]),
  ]
}

function changes({ changes, degraded }: Figures): string[] {
  const lines: string[] = []
  if (changes !== null && changes.length > 0)
    lines.push(
      ...heading('Changed since the period before'),
      ...columns([
        ['', 'bounces before', 'this period'],
        ...changes.map(({ destination, before, bounces }) => [destination, number(before), number(bounces)]),
      ]),
    )
  if (degraded.length > 0)
    lines.push(
      ...heading('Bounced more than usual'),
      ...columns(
        [
          ['', 'from', 'to', 'in an hour', 'usually'],
          ...degraded.map(({ destination, beganAt, endedAt, bounces, usual }) => [
            ...[destination, minute(beganAt), endedAt === null ? 'goes on' : minute(endedAt), number(bounces), usual.toFixed(1)],
          ]),
        ],
        [0, 1, 2],
      ),
    )
  return lines
}

function suppressions({ suppressions: s }: Figures): string[] {
  const now = Object.entries(s.now)
  const changes = s.suppressed + s.extended + s.lifted + s.restored + s.lapsed
  if (changes === 0 && now.length === 0) return []
  return [
    ...heading('Suppressions'),
    ...wrapped(
      `${number(s.suppressed)} suppressed (${number(s.cameBack)} of them not for the first time), ${number(s.extended)} extended, ${number(s.lapsed)} lapsed, ${number(s.restored)} expired early, ${number(s.lifted)} lifted.`,
    ),
    `Now: ${now.length === 0 ? 'none' : now.map(([reason, n]) => `${number(n)} ${reason}`).join(', ')}.`,
  ]
}
