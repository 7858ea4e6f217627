/**
 * The charts of the report, as SVG. Colours are CSS variables of the page (`var(--…)`), so that a chart fits light and dark mode. ECharts
 * accepts only literal colours, so each variable has a placeholder colour that is replaced afterwards.
 */

import type { EChartsCoreOption } from 'echarts/core'
import { BarChart, CustomChart, echarts, GridComponent, LegendComponent, MarkLineComponent, SVGRenderer } from './echarts.js'
import type { Figures } from './figures.js'
import { cut, duration, WEEKDAYS } from './format.js'

echarts.use([BarChart, CustomChart, GridComponent, LegendComponent, MarkLineComponent, SVGRenderer])

export const INK = {
  text: '#010101',
  muted: '#010102',
  line: '#010103',
  page: '#010104',
  good: '#010105',
  bad: '#010106',
  warn: '#010107',
  calm: '#010108',
  /** Shades from low to high. */
  shade1: '#010111',
  shade2: '#010112',
  shade3: '#010113',
  shade4: '#010114',
} as const

/** Of a page on a desktop, and of one on a phone (390 px with its margins); the page shows the one that fits. */
const WIDTHS = { wide: 920, narrow: 356 } as const

/** A chart in both widths. */
export type Chart = Readonly<Record<keyof typeof WIDTHS, string>>

/** Approximate width of a character in axis labels, px. */
export const CHARACTER = 7
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'

export function draw(height: number, optionFor: (width: number) => EChartsCoreOption): Chart {
  return { wide: drawIn(WIDTHS.wide, height, optionFor(WIDTHS.wide)), narrow: drawIn(WIDTHS.narrow, height, optionFor(WIDTHS.narrow)) }
}

function drawIn(width: number, height: number, option: EChartsCoreOption): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height })
  try {
    chart.setOption({ animation: false, backgroundColor: 'transparent', textStyle: { fontFamily: FONT, color: INK.text }, ...option })
    let svg = chart.renderToSVGString()
    for (const [name, colour] of Object.entries(INK)) svg = svg.replaceAll(colour, `var(--${name})`)
    // the page sets size, label and cursor
    return svg.replace(/^<svg width="\d+" height="\d+"/, '<svg aria-hidden="true"').replaceAll('cursor="pointer"', '')
  } finally {
    chart.dispose()
  }
}

export const axisLabel = { color: INK.text, fontSize: 12 }
const axisLine = { lineStyle: { color: INK.line } }
export const splitLine = { lineStyle: { color: INK.line } }
const legend = (width: number, ...names: string[]) => ({
  data: names,
  top: 0,
  left: 0,
  itemGap: width < 500 ? 16 : 24,
  itemWidth: 14,
  itemHeight: 10,
  textStyle: { color: INK.text, fontSize: width < 500 ? 10 : 12 },
})
/** Full width, with room for the labels. */
const grid = (top: number) => ({ left: 8, right: 8, top, bottom: 4, outerBoundsMode: 'same', outerBoundsContain: 'axisLabel' })
const values = { type: 'value', minInterval: 1, axisLabel, splitLine }
/** A series of bars for each of these fields: the name, the colour, and the field of the rows. */
const bars = <Row>(
  rows: readonly Row[],
  ...series: readonly (readonly [name: string, color: string, field: keyof Row, stack?: string])[]
) =>
  series.map(([name, color, field, stack]) => ({
    ...{ name, type: 'bar', data: rows.map((row) => row[field]), itemStyle: { color }, barMaxWidth: 42 },
    ...(stack === undefined ? {} : { stack }),
  }))
/** An axis of names. */
export const categories = (data: readonly string[], label: object = axisLabel) => ({
  ...{ type: 'category', data, axisLabel: label, axisLine, axisTick: { show: false } },
})

/** Outcomes of each retry of the schedule. */
export function stepsChart({ steps }: Figures): Chart {
  return draw(300, (width) => ({
    legend: legend(width, 'accepted', 'deferred', 'rejected'),
    grid: grid(36),
    xAxis: categories(steps.map(({ retry }) => `retry ${retry}`)),
    yAxis: values,
    series: bars(
      steps,
      ['accepted', INK.good, 'accepted', 'all'],
      ['deferred', INK.warn, 'deferred', 'all'],
      ['rejected', INK.bad, 'rejected', 'all'],
    ),
  }))
}

const overDays = (days: Figures['days']) => ({
  grid: grid(36),
  xAxis: categories(
    days.map(({ day }) => day),
    { ...axisLabel, hideOverlap: true },
  ),
  yAxis: values,
})

/** The days from the first to the last with any figure. */
function withFigures(days: Figures['days']): Figures['days'] {
  const hasAny = days.map(({ day: _, ...figures }) => Object.values(figures).some((n) => Number(n) > 0))
  const first = hasAny.indexOf(true)
  return first < 0 ? days : days.slice(first, hasAny.lastIndexOf(true) + 1)
}

/** 4.3.2 per day: bounces, and retries answered with it. */
export function daysChart({ days: all }: Figures): Chart {
  const days = withFigures(all)
  return draw(280, (width) => ({
    legend: legend(width, 'bounces that came in', 'retries that were refused'),
    ...overDays(days),
    series: bars(days, ['bounces that came in', INK.calm, 'bounced', 'all'], ['retries that were refused', INK.warn, 'notNow', 'all']),
  }))
}

/** Additions to and removals from the suppression list, per day. */
export function suppressionsChart({ days: all }: Figures): Chart {
  const days = withFigures(all)
  return draw(260, (width) => ({
    legend: legend(width, 'suppressed', 'extended', 'expired early', 'lifted'),
    ...overDays(days),
    series: bars(
      days,
      ['suppressed', INK.bad, 'suppressed', 'on'],
      ['extended', INK.warn, 'extended', 'on'],
      ['expired early', INK.calm, 'restored', 'off'],
      ['lifted', INK.good, 'lifted', 'off'],
    ),
  }))
}

/** Time from bounce to delivery. */
export function deliveryChart({ delivery }: Figures): Chart {
  const { buckets } = delivery
  const name = (i: number) => {
    const upTo = buckets[i]?.upToMs ?? null
    return upTo === null ? `more` : `≤ ${duration(upTo)}`
  }
  return draw(260, () => ({
    grid: grid(12),
    xAxis: categories(buckets.map((_, i) => name(i))),
    yAxis: values,
    series: bars(buckets, ['delivered', INK.good, 'delivered']),
  }))
}

const SHADES = [INK.shade1, INK.shade2, INK.shade3, INK.shade4] as const
const shadeOf = (share: number) => SHADES[Math.min(3, Math.max(0, Math.ceil(share * 4) - 1))] as string

export interface Drawing {
  value(dimension: number): number
  coord(point: [number, number]): [number, number]
}
export const rectangle = (x: number, y: number, width: number, height: number, fill: string) => ({
  type: 'rect',
  shape: { x, y, width: Math.max(1, width), height },
  style: { fill },
})

/** Destinations over time: the share of deferred retries, and the outages beneath. */
export function heatChart({ heat, until }: Figures): Chart {
  const { rows, from, bucketMs, buckets } = heat
  const start = from.getTime()
  const end = Math.min(start + buckets * bucketMs, new Date(until).getTime())
  const cells = rows.flatMap(({ attempts, refused }, y) =>
    attempts.flatMap((n, i) => (n === 0 ? [] : [[start + i * bucketMs, y, (refused[i] as number) / n]])),
  )
  const outages = rows.flatMap(({ outages }, y) =>
    outages.map(({ beganAt, endedAt }) => [Math.max(start, beganAt.getTime()), y, Math.min(end, endedAt?.getTime() ?? end)]),
  )
  // from the first figure on
  const first = Math.max(start, Math.min(...[...cells, ...outages].map(([from]) => from as number), end - bucketMs))
  const rowHeight = 22
  const names = (width: number) => rows.map(({ destination }) => cut(destination, width < 500 ? 16 : 30))
  return draw(44 + rows.length * rowHeight, (width) => ({
    grid: { left: 14 + Math.max(0, ...names(width).map((name) => name.length)) * CHARACTER, right: 12, top: 4, bottom: 28 },
    xAxis: {
      type: 'time',
      min: first,
      max: end,
      axisLabel: { ...axisLabel, hideOverlap: true, formatter: (ms: number) => dayOrHour(ms) },
      axisLine,
      splitLine: { show: false },
    },
    yAxis: {
      type: 'category',
      inverse: true,
      data: names(width),
      axisLabel,
      axisLine: { show: false },
      axisTick: { show: false },
    },
    series: [
      {
        type: 'custom',
        data: cells,
        renderItem: (_: unknown, api: Drawing) => {
          const [x, y] = api.coord([api.value(0), api.value(1)])
          const [next] = api.coord([api.value(0) + bucketMs, api.value(1)])
          const share = api.value(2)
          return rectangle(x, y - 9, next - x - 0.5, 13, share === 0 ? INK.good : shadeOf(share))
        },
      },
      {
        type: 'custom',
        data: outages,
        encode: { x: [0, 2], y: 1 },
        renderItem: (_: unknown, api: Drawing) => {
          const [x, y] = api.coord([api.value(0), api.value(1)])
          const [to] = api.coord([api.value(2), api.value(1)])
          return rectangle(x, y + 5, to - x, 3, INK.bad)
        },
      },
    ],
  }))
}

function dayOrHour(ms: number): string {
  const iso = new Date(ms).toISOString()
  return iso.slice(11, 16) === '00:00' ? iso.slice(5, 10) : iso.slice(11, 16)
}

/** 4.3.2 by hour of the week. */
export function weekChart({ week }: Figures): Chart {
  const most = Math.max(1, ...week.flat())
  /** The grid is what the names of the days leave. */
  const cellOf = (width: number) => Math.floor((width - 70) / 24) - 1
  const cells = week.flatMap((hours, day) => hours.flatMap((n, hour) => (n === 0 ? [] : [[hour, day, n / most, n]])))
  return draw(230, (width) => ({
    grid: { ...grid(4), right: 12 },
    xAxis: categories(
      Array.from({ length: 24 }, (_, hour) => String(hour)),
      { ...axisLabel, interval: width < 500 ? 3 : 0 },
    ),
    yAxis: { type: 'category', inverse: true, data: [...WEEKDAYS], axisLabel, axisLine: { show: false }, axisTick: { show: false } },
    series: [
      {
        type: 'custom',
        data: cells,
        renderItem: (_: unknown, api: Drawing) => {
          const cell = cellOf(width)
          const [x, y] = api.coord([api.value(0), api.value(1)])
          return { ...rectangle(x - cell / 2, y - 12, cell, 24, shadeOf(api.value(2))), children: [] }
        },
      },
    ],
  }))
}
