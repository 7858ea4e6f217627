// Resident memory of a process, MiB; without /proc, that of this process instead.
import { readFileSync } from 'node:fs'

export function memoryOf(pid = process.pid) {
  try {
    return Math.round(Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024)
  } catch {
    return pid === process.pid ? Math.round(process.memoryUsage().rss / 2 ** 20) : null
  }
}
