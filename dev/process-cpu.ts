/** CPU time of processes (Linux, proc(5)). */
import { readFileSync } from 'node:fs'

const MS_PER_TICK = 10

/** Of a process so far, its threads included; `endedChildrenMs` is that of its children that have ended. */
export function processCpu(pid: number): { readonly parent: number; readonly ownMs: number; readonly endedChildrenMs: number } {
  // after the name come state and ppid; utime, stime, cutime and cstime are the 12th to 15th
  const fields = (readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1] ?? '').split(' ').map(Number)
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15)
  return { parent: fields[1] ?? 0, ownMs: (utime + stime) * MS_PER_TICK, endedChildrenMs: (cutime + cstime) * MS_PER_TICK }
}

export const cpuMsOf = (pid: number): number => processCpu(pid).ownMs
