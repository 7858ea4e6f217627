// Memory of a process as its system counts it (resident, MiB); if that is not told (no /proc), of this process alone.
import { readFileSync } from 'node:fs'

export function memoryOf(pid = process.pid) {
  try {
    return Math.round(Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024)
  } catch {
    return pid === process.pid ? Math.round(process.memoryUsage().rss / 2 ** 20) : null
  }
}
