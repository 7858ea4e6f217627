import { readFileSync } from 'node:fs'

const MS_PER_TICK = 10

/** CPU time of a process so far, its threads included, ms (Linux, proc(5)). */
export function cpuMsOfProcess(pid: number): number {
  const fields = (readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1] ?? '').split(' ').map(Number)
  return ((fields[11] ?? 0) + (fields[12] ?? 0)) * MS_PER_TICK
}
