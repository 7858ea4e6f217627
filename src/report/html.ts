/** The report as one self-contained HTML file. Each chart has a caption, and its numbers as a table. */

import { daysChart, deliveryChart, heatChart, stepsChart, suppressionsChart, weekChart } from './charts.js'
import type { DestinationFigures } from './destination-figures.js'
import type { Figures } from './figures.js'
import { brief, duration, minute, number, OUTCOMES, percent, several, WEEKDAYS } from './format.js'
import { figure, numbers, section, table } from './html-parts.js'
import { asOf, destinationName, type LivePage, links } from './live-html.js'
import { now } from './now-html.js'
import { type Html, html, page } from './page.js'
import { differenceInWords, trialRow, verdictOf } from './trial-text.js'
import { schedules } from './what-if/html.js'

/** @param live null for a file. */
export function htmlReport(figures: Figures, live: LivePage | null = null): string {
  const { since, until, answers, started } = figures
  const came = figures.bounces.reduce((sum, { count }) => sum + count, 0)
  const title = `softbounce report, ${minute(since).slice(0, 10)} to ${minute(until).slice(0, 10)}`
  const of = figures.destination === undefined ? '' : html` of ${figures.destination}`
  const head = html`<header><h1>softbounce report${of}</h1>${live === null ? '' : links(figures, live)}<p class="muted">${minute(since)} to ${minute(until)}. All times are UTC.${live === null ? '' : asOf(until)}</p></header>`
  const empty =
    came === 0 && started === 0 && answers.attempts === 0 && Object.keys(figures.ended).length === 0 && figures.outages.length === 0
  const body = empty
    ? html`${now(figures, live)}<p>Nothing has bounced, and nothing was retried in this time.</p>`
    : html`${now(figures, live)}${tiles(figures, came)}${[systems(figures, live), heat(figures), steps(figures), days(figures), week(figures), delivery(figures), suppressions(figures), changes(figures, live), trial(figures), schedules(figures), outages(figures, live), bounces(figures)]}`
  const foot = html`<footer>A retry counts on the day of its answer. A message that a relay accepted and that did not bounce counts as accepted. An outage lasts from a destination’s first refusal to its first acceptance by any retry.</footer>`
  return page(title, html`${head}<main>${body}</main>${foot}`, live !== null)
}

const tile = (value: string, what: string) => html`<li><b>${value}</b>${what}</li>`

function tiles({ started, answers, ended, outages, suppressions }: Figures, came: number): Html {
  const down = outages.filter(({ endedAt }) => endedAt === null).length
  const active = Object.values(suppressions.now).reduce((a, b) => a + b, 0)
  return html`<ul class="tiles">${[
    tile(number(came), 'bounces came in'),
    tile(number(started), 'messages began to be retried'),
    tile(number(answers.attempts), 'retries answered'),
    tile(answers.attempts === 0 ? '–' : percent(answers.notNow / answers.attempts), 'of them with 4.3.2'),
    ...Object.entries(ended).map(([outcome, n]) => tile(number(n), OUTCOMES[outcome] ?? outcome)),
    tile(number(down), 'outages go on'),
    tile(number(active), 'addresses suppressed now'),
  ]}</ul>`
}

const BY_SHARE = html`<div class="key"><span><i style="background:var(--good)"></i>all accepted or rejected</span><span><i style="background:var(--shade1)"></i>up to a quarter refused</span><span><i style="background:var(--shade2)"></i>half</span><span><i style="background:var(--shade3)"></i>three quarters</span><span><i style="background:var(--shade4)"></i>all</span><span><i style="background:var(--bad);height:.25rem"></i>an outage</span></div>`

function state({ downSince, failingSince }: DestinationFigures): Html {
  if (downSince !== null) return html`<td class="now" data-value="2"><span class="down">down since ${minute(downSince)}</span></td>`
  return failingSince === null
    ? html`<td class="now" data-value="0">takes mail</td>`
    : html`<td class="now" data-value="1">failing since ${minute(failingSince)}</td>`
}

function systems({ worst, systems }: Figures, live: LivePage | null): Html {
  if (worst.length === 0) return html``
  const heads = ['destination', 'retries', '4.3.2', 'deferred', 'outages', 'median', 'worst', 'now']
  const cell = (value: number | null, shown: string) => html`<td data-value="${value ?? -1}">${shown}</td>`
  const rows = worst.map(
    (one) =>
      html`<tr><th scope="row" data-value="${one.destination}">${destinationName(one.destination, live)}</th>${[
        cell(one.attempts, number(one.attempts)),
        cell(one.notNow, number(one.notNow)),
        cell(one.deferred / one.attempts, percent(one.deferred / one.attempts)),
        cell(one.outages, number(one.outages)),
        cell(one.medianOutageMs, brief(one.medianOutageMs)),
        cell(one.worstOutageMs, brief(one.worstOutageMs)),
        state(one),
      ]}</tr>`,
  )
  const servers = worst.flatMap(({ destination, mailServers }) =>
    mailServers.map((one) => [
      destinationName(destination, live),
      one.mailServer,
      number(one.attempts),
      number(one.notNow),
      percent(one.deferred / one.attempts),
    ]),
  )
  return section(
    systems > worst.length ? `The worst ${worst.length} of ${number(systems)} destinations` : 'Destinations, the worst first',
    html`<p class="muted">By how many retries they deferred; press a head to sort.</p>`,
    html`<div class="scrolls" tabindex="0"><table class="sorts"><thead><tr>${heads.map((head) => html`<th scope="col"><button type="button">${head}</button></th>`)}</tr></thead><tbody>${rows}</tbody></table></div>`,
    servers.length === 0
      ? ''
      : html`<details><summary>By mail server</summary>${table(['destination', 'mail server', 'retries', '4.3.2', 'deferred'], servers)}</details>`,
  )
}

function heat(figures: Figures): Html {
  const { heat } = figures
  if (heat.rows.length === 0) return html``
  const each = duration(heat.bucketMs)
  return section(
    'When they refused',
    figure(
      heatChart(figures),
      `Each cell is ${each}: the share of retries that a destination deferred. ${heat.rows.length === 1 ? 'One destination' : `The ${heat.rows.length} worst`}, the worst at the top.`,
      BY_SHARE,
    ),
  )
}

function steps(figures: Figures): Html {
  const { steps, backup } = figures
  const byBackup =
    backup.sent === 0
      ? html``
      : html`<p>By the backup relay, beside their retries: ${number(backup.sent)} sent, ${number(backup.accepted)} accepted, ${number(backup.deferred)} deferred, ${number(backup.rejected)} rejected.</p>`
  if (steps.length === 0) return byBackup
  const best = steps.reduce((a, b) => (b.earnedShare > a.earnedShare ? b : a))
  const last = steps.at(-1) as (typeof steps)[number]
  const earned =
    best.accepted === 0
      ? 'No retry was accepted.'
      : `Retry ${best.retry} earned most: ${percent(best.earnedShare)} of all that were accepted; the last one, retry ${last.retry}, earned ${percent(last.earnedShare)}.`
  return section(
    'What each retry earns',
    figure(stepsChart(figures), earned),
    numbers(
      ['retry', 'sent', 'accepted', 'deferred', 'rejected', 'accepted, of its own', 'of all accepted', 'by a relay, no word since'],
      steps.map((s) => [
        `retry ${s.retry}`,
        ...[s.sent, s.accepted, s.deferred, s.rejected].map(number),
        percent(s.acceptedShare),
        percent(s.earnedShare),
        number(s.byRelay),
      ]),
    ),
    byBackup,
  )
}

function days(figures: Figures): Html {
  const { days } = figures
  const total = days.reduce((sum, { bounced, notNow }) => sum + bounced + notNow, 0)
  if (total === 0) return section('4.3.2 per day', html`<p>Nobody said 4.3.2 in this time.</p>`)
  const worst = days.reduce((a, b) => (b.bounced + b.notNow > a.bounced + a.notNow ? b : a))
  return section(
    '4.3.2 per day',
    figure(daysChart(figures), `${number(total)} in all; most on ${worst.day}: ${number(worst.bounced + worst.notNow)}.`),
    numbers(
      ['day', 'bounces with 4.3.2', 'retries refused with 4.3.2', 'retries accepted'],
      days.map(({ day, bounced, notNow, accepted }) => [day, number(bounced), number(notNow), number(accepted)]),
    ),
  )
}

function week(figures: Figures): Html {
  const { week } = figures
  const most = Math.max(0, ...week.flat())
  if (most === 0) return html``
  const day = week.findIndex((hours) => hours.includes(most))
  const hour = (week[day] as readonly number[]).indexOf(most)
  return section(
    '4.3.2 by hour of the week',
    figure(weekChart(figures), `Retries refused with 4.3.2, UTC. Most on ${WEEKDAYS[day]} at ${hour}: ${number(most)}.`),
    numbers(
      ['weekday', ...Array.from({ length: 24 }, (_, i) => String(i))],
      week.map((hours, i) => [WEEKDAYS[i] as string, ...hours.map(number)]),
    ),
  )
}

function delivery(figures: Figures): Html {
  const { delivered, medianMs, p90Ms, buckets } = figures.delivery
  if (delivered === 0) return html``
  return section(
    'From the bounce to the delivery',
    figure(
      deliveryChart(figures),
      `Of ${several(delivered, 'confirmed delivery', 'confirmed deliveries')} half took at most ${duration(medianMs)}, nine of ten at most ${duration(p90Ms)}.`,
    ),
    numbers(
      ['took', 'delivered'],
      buckets.map(({ upToMs, delivered: n }, i) => [
        upToMs === null ? `longer than ${duration(buckets[i - 1]?.upToMs ?? null)}` : `up to ${duration(upToMs)}`,
        number(n),
      ]),
    ),
  )
}

function suppressions(figures: Figures): Html {
  const { suppressions: s, days } = figures
  const now = Object.entries(s.now)
  if (s.suppressed + s.extended + s.lifted + s.restored + s.lapsed === 0 && now.length === 0) return html``
  const says = `${number(s.suppressed)} suppressed (${number(s.cameBack)} not for the first time), ${number(s.extended)} extended, ${number(s.lapsed)} lapsed, ${number(s.restored)} expired early since their system takes mail again, ${number(s.lifted)} lifted. Now: ${now.length === 0 ? 'none' : now.map(([reason, n]) => `${number(n)} ${reason}`).join(', ')}.`
  return section(
    'Suppressions',
    figure(suppressionsChart(figures), says),
    numbers(
      ['day', 'suppressed', 'extended', 'expired early', 'lifted'],
      days.map((d) => [d.day, ...[d.suppressed, d.extended, d.restored, d.lifted].map(number)]),
    ),
  )
}

function changes({ changes, degraded }: Figures, live: LivePage | null): Html {
  const moved = changes ?? []
  if (moved.length === 0 && degraded.length === 0) return html``
  return section(
    'What changed',
    moved.length === 0
      ? ''
      : html`<p>Bounces with 4.3.2, in the period before this one and in this one, where they differ by more than chance.</p>${table(
          ['destination', 'before', 'this period'],
          moved.map(({ destination, before, bounces }) => [destinationName(destination, live), number(before), number(bounces)]),
        )}`,
    degraded.length === 0
      ? ''
      : html`<p>More bounces in an hour than usual for that hour of the week, before a destination was down or as usual again.</p>${table(
          ['destination', 'from', 'to', 'in an hour', 'usually'],
          degraded.map(({ destination, beganAt, endedAt, bounces, usual }) => [
            destinationName(destination, live),
            ...[minute(beganAt), endedAt === null ? 'goes on' : minute(endedAt), number(bounces), usual.toFixed(1)],
          ]),
        )}`,
  )
}

/** Schedules on trial, if there are any. */
function trial({ trial }: Figures): Html {
  if (trial === null) return html``
  return section(
    'Schedules on trial',
    html`<p>From ${minute(trial.since)} to ${minute(trial.until)}, of messages that are so old that the longest schedule is over. Ranges are 95 % confidence intervals; differences are percentage points, to the first row.</p>`,
    table(
      ['schedule', 'messages', 'delivered', '95 %', 'median', 'retries each', 'difference'],
      trial.arms.map((arm) => [...trialRow(arm), differenceInWords(arm)]),
    ),
    ...trial.arms.flatMap((arm) => (arm.difference === null ? [] : [html`<p>${verdictOf(arm)}</p>`])),
  )
}

function outages({ outages, until }: Figures, live: LivePage | null): Html {
  if (outages.length === 0) return html``
  return section(
    'The longest outages',
    table(
      ['destination', 'from', 'to', 'for', 'refusals', 'it said first'],
      outages.map((o) => [
        destinationName(o.destination, live),
        minute(o.beganAt),
        o.endedAt === null ? html`<td class="down">goes on</td>` : minute(o.endedAt),
        duration((o.endedAt ?? new Date(until)).getTime() - o.beganAt.getTime()),
        number(o.refusals),
        html`<td class="text">${o.reply.slice(0, 200)}</td>`,
      ]),
    ),
  )
}

function bounces({ bounces }: Figures): Html {
  if (bounces.length === 0) return html``
  return section(
    'Bounces that came in',
    table(
      ['what was done', 'status', 'bounces'],
      bounces.map(({ disposition, status, count }) => [disposition, status ?? '–', number(count)]),
    ),
  )
}
