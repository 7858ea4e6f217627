// Measures a step's time, and its memory above the baseline.
export async function takeHeapUsage(step) {
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  let most = before
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss)
  }, 5)
  const began = performance.now()
  const value = await step()
  const ms = performance.now() - began
  clearInterval(timer)
  most = Math.max(most, process.memoryUsage().rss)
  return { ms, heapMb: (most - before) / 1048576, value }
}
