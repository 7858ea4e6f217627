/** The charts of tried schedules: the share that each would have delivered, and how long that would have taken. */
import { axisLabel, CHARACTER, type Chart, categories, type Drawing, draw, INK, rectangle, splitLine } from '../charts.js'
import { cut } from '../format.js'
import type { WhatIf } from './index.js'
import { nameOf } from './text.js'

const ROW = 26
const HOUR_MS = 3_600_000
const tenth = (n: number) => Math.round(n * 10) / 10

/** Each row: a bar, and a line from one value to another. */
function rows(
  names: readonly string[],
  values: readonly (readonly [bar: number, from: number, to: number])[],
  axis: object,
  color: string,
) {
  return draw(40 + names.length * ROW, (width) => {
    const shown = names.map((name) => cut(name, width < 500 ? 18 : 44))
    return {
      grid: { left: 12 + Math.max(...shown.map((name) => name.length)) * CHARACTER, right: 24, top: 4, bottom: 28 },
      xAxis: { type: 'value', min: 0, splitLine, ...axis },
      yAxis: { ...categories(shown), inverse: true, axisLine: { show: false } },
      series: [
        { type: 'bar', data: values.map(([bar]) => bar), barMaxWidth: 14, itemStyle: { color } },
        {
          type: 'custom',
          z: 5,
          data: values.map(([, from, to], y) => [from, y, to]),
          encode: { x: [0, 2], y: 1 },
          renderItem: (_: unknown, api: Drawing) => {
            const [x, y] = api.coord([api.value(0), api.value(1)])
            const [to] = api.coord([api.value(2), api.value(1)])
            return rectangle(x, y - 1.5, to - x, 3, INK.text)
          },
        },
      ],
    }
  })
}

/** The share delivered in the middle case; the line reaches from the worst to the best. */
export function deliveredChart({ tried, messages }: WhatIf): Chart {
  const share = (delivered: number) => tenth((delivered / Math.max(1, messages)) * 100)
  return rows(
    tried.map(nameOf),
    tried.map(({ earned: { middle, worst, best } }) => [share(middle.delivered), share(worst.delivered), share(best.delivered)]),
    { max: 100, axisLabel: { ...axisLabel, formatter: '{value} %' } },
    INK.good,
  )
}

/** Half are delivered by the end of the bar, nine of ten by the end of the line. */
export function timesChart({ tried }: WhatIf): Chart {
  const hours = (ms: number | null) => tenth((ms ?? 0) / HOUR_MS)
  return rows(
    tried.map(nameOf),
    tried.map(({ earned: { middle } }) => [hours(middle.medianMs), hours(middle.medianMs), hours(middle.p90Ms)]),
    { axisLabel: { ...axisLabel, formatter: '{value} h' } },
    INK.calm,
  )
}
