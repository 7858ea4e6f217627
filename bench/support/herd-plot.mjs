// Plots the herd bench: messages per second to the receiving system and to the others, before and after it came back.
import * as echarts from 'echarts'

const perBucket = (times, began, bucketMs, buckets) => {
  const counts = Array.from({ length: buckets }, () => 0)
  for (const at of times) {
    const bucket = Math.floor((at - began) / bucketMs)
    if (bucket >= 0 && bucket < buckets) counts[bucket] += 1
  }
  return counts.map((count) => (count * 1000) / bucketMs)
}

export function herdPlot({ began, downUntil, herdSink, othersSink, herdSize }, { rate }) {
  const end = Math.max(...herdSink.taken.map(({ at }) => at), ...othersSink.taken.map(({ at }) => at))
  const bucketMs = Math.max(1000, Math.ceil((end - began) / 300 / 1000) * 1000)
  const buckets = Math.ceil((end - began) / bucketMs) + 1
  const minutes = Array.from({ length: buckets }, (_, i) => ((i * bucketMs) / 60_000).toFixed(1))
  const series = (name, times, color) => ({
    ...{ name, type: 'line', step: 'end', showSymbol: false, lineStyle: { width: 1.5, color }, itemStyle: { color } },
    data: perBucket(times, began, bucketMs, buckets),
  })
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 900, height: 420 })
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: `${herdSize} messages for a receiving system that is down and comes back`, left: 'center', textStyle: { fontSize: 15 } },
    legend: { top: 28, itemGap: 60 },
    grid: { left: 72, right: 24, top: 64, bottom: 48 },
    xAxis: {
      type: 'category',
      data: minutes,
      name: 'minutes',
      nameLocation: 'middle',
      nameGap: 28,
      axisLabel: { interval: Math.ceil(60_000 / bucketMs) * 2 - 1 },
    },
    yAxis: { type: 'value', name: 'messages a second' },
    series: [
      {
        ...series(
          'taken by the receiving system',
          herdSink.taken.map(({ at }) => at),
          '#1f77b4',
        ),
        markLine: {
          silent: true,
          symbol: 'none',
          lineStyle: { color: '#d62728', type: 'dashed' },
          label: { formatter: `its limit, ${rate}/s`, position: 'insideEndTop' },
          data: [{ yAxis: rate }],
        },
        markArea: {
          silent: true,
          itemStyle: { color: 'rgba(214,39,40,0.10)' },
          label: { color: '#a00' },
          data: [[{ name: 'down', xAxis: 0 }, { xAxis: Math.floor((downUntil - began) / bucketMs) }]],
        },
      },
      series(
        'connections that it refused',
        herdSink.connections.filter((at) => at < downUntil),
        '#d62728',
      ),
      series(
        'taken by the others',
        othersSink.taken.map(({ at }) => at),
        '#2ca02c',
      ),
    ],
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return `${svg}\n`
}
