/** The chart of tried schedules: the share that each would have delivered, with the range from the worst to the best case. */
import { axisLabel, CHARACTER, type Chart, categories, type Drawing, draw, INK, rectangle, splitLine } from '../charts.js'
import { cut } from '../format.js'
import type { WhatIf } from './index.js'
import { nameOf } from './text.js'

const ROW = 30

export function whatIfChart({ tried, messages }: WhatIf): Chart {
  const shares = tried.map(({ earned }) => {
    const of = (delivered: number) => Math.round((delivered / Math.max(1, messages)) * 1000) / 10
    return { middle: of(earned.middle.delivered), worst: of(earned.worst.delivered), best: of(earned.best.delivered) }
  })
  return draw(40 + tried.length * ROW, (width) => {
    const names = tried.map((one) => cut(nameOf(one), width < 500 ? 18 : 44))
    return {
      grid: { left: 12 + Math.max(...names.map((name) => name.length)) * CHARACTER, right: 24, top: 4, bottom: 28 },
      xAxis: { type: 'value', min: 0, max: 100, axisLabel: { ...axisLabel, formatter: '{value} %' }, splitLine },
      yAxis: { ...categories(names), inverse: true, axisLine: { show: false } },
      series: [
        {
          ...{ type: 'bar', data: shares.map(({ middle }) => middle), barMaxWidth: 16 },
          itemStyle: { color: INK.good },
        },
        {
          type: 'custom',
          data: shares.map(({ worst, best }, y) => [worst, y, best]),
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
