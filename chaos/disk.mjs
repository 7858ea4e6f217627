// A disk that can lose its power: what programs with disk.c preloaded wrote is in a journal, and a cut leaves what was synced, and of the
// rest whatever chance left.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SECTOR = 512
const HEAD = 24

/** Compiles the library; null where there is no C compiler. */
export function compileDisk(folder) {
  const library = join(folder, 'disk.so')
  try {
    execFileSync('cc', ['-O1', '-shared', '-fPIC', '-o', library, fileURLToPath(new URL('disk.c', import.meta.url)), '-ldl'])
    return library
  } catch {
    return null
  }
}

export class Disk {
  /** Path -> the content that is on the disk for certain. */
  #durable = new Map()

  constructor(folder, journal, library) {
    this.folder = folder
    this.journal = journal
    /** For the programs that write to it. */
    this.env = { LD_PRELOAD: library, DISK_FOLDER: folder, DISK_JOURNAL: journal }
    this.syncs = 0
  }

  /** Cuts the power: leaves each file as it may be then. No program may have it open. @returns how many bytes were written, and are lost. */
  cut(random) {
    const pending = new Map()
    for (const { op, path, offset, data } of this.#records()) {
      // a sync of the folder itself: names are taken for durable at once
      if (path === this.folder) continue
      if (op === 'U') {
        this.#durable.delete(path)
        pending.delete(path)
      } else if (op === 'S') {
        this.syncs += 1
        this.#durable.set(path, apply(this.#durable.get(path), pending.get(path) ?? []))
        pending.delete(path)
      } else pending.set(path, [...(pending.get(path) ?? []), { op, offset, data }])
    }
    let lost = 0
    for (const [path, writes] of pending) {
      const left = surviving(writes, random)
      lost += bytesOf(writes) - bytesOf(left)
      this.#durable.set(path, apply(this.#durable.get(path), left))
    }
    for (const [path, content] of this.#durable) {
      writeFileSync(path, content)
      // shared memory is no file of the disk
      if (path.endsWith('-wal')) rmSync(path.replace(/wal$/, 'shm'), { force: true })
    }
    rmSync(this.journal, { force: true })
    return lost
  }

  *#records() {
    const all = existsSync(this.journal) ? readFileSync(this.journal) : Buffer.alloc(0)
    for (let at = 0; at < all.length; ) {
      const pathLength = all.readUInt32LE(at + 4)
      const length = Number(all.readBigUInt64LE(at + 16))
      const end = at + HEAD + pathLength + length
      // the program was killed in the middle of a record: nothing had returned
      if (end > all.length) return
      yield {
        op: String.fromCharCode(all[at]),
        path: all.toString('utf8', at + HEAD, at + HEAD + pathLength),
        offset: Number(all.readBigUInt64LE(at + 8)),
        data: all.subarray(at + HEAD + pathLength, end),
      }
      at = end
    }
  }
}

const bytesOf = (writes) => writes.reduce((sum, { data }) => sum + (data?.length ?? 0), 0)

function apply(content = Buffer.alloc(0), writes) {
  if (writes.length === 0) return content
  let size = content.length
  let largest = size
  for (const { op, offset, data } of writes) {
    size = op === 'T' ? offset : Math.max(size, offset + data.length)
    largest = Math.max(largest, size)
  }
  const file = Buffer.alloc(largest)
  content.copy(file)
  for (const { op, offset, data } of writes)
    if (op === 'T') file.fill(0, offset)
    else data.copy(file, offset)
  return file.subarray(0, size)
}

/** What a disk had written of what it was not told to sync: nothing, all, the first of them, or any of their sectors. */
function surviving(writes, random) {
  const kind = random.pick(['none', 'all', 'first', 'sectors'])
  if (kind === 'none') return []
  if (kind === 'all') return writes
  if (kind === 'first') return writes.slice(0, random.between(0, writes.length))
  return writes.flatMap((write) => {
    if (write.op === 'T') return random.chance(0.5) ? [write] : []
    const sectors = []
    for (let at = 0; at < write.data.length; at += SECTOR)
      if (random.chance(0.5)) sectors.push({ op: 'W', offset: write.offset + at, data: write.data.subarray(at, at + SECTOR) })
    return sectors
  })
}
