/** One service of Temporal's server as a process of its own, which can be killed, frozen and started again at the same ports. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endProcess } from '../dev-server/index.js'
import { cpuMsOf } from '../process-cpu.js'

const READY_WITHIN_MS = 60_000
const STOP_WITHIN_MS = 15_000

export type ServiceKind = 'history' | 'matching' | 'frontend' | 'worker'

export class ClusterService {
  private child: ChildProcess | undefined
  private ended: Promise<void> = Promise.resolve()
  /** CPU of the processes before this one, ms. */
  private earlierCpuMs = 0

  constructor(
    private readonly program: string,
    readonly kind: ServiceKind,
    /** Such as `history-2`. */
    readonly name: string,
    readonly grpcPort: number,
    readonly membershipPort: number,
    private readonly env: Readonly<Record<string, string>>,
    private readonly folder: string,
  ) {}

  get pid(): number {
    return this.child?.pid as number
  }

  /** The ports at which other services reach it. */
  get ports(): readonly number[] {
    return [this.grpcPort, this.membershipPort]
  }

  get isUp(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null
  }

  /** Starts the process, and waits until its port is open. */
  async start(): Promise<void> {
    const log = createWriteStream(join(this.folder, `${this.name}.log`), { flags: 'a' })
    const child = spawn(this.program, ['start', '--service', this.kind], {
      cwd: this.folder,
      env: { PATH: process.env.PATH ?? '', ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.pipe(log)
    child.stderr.pipe(log)
    this.child = child
    this.ended = new Promise((resolve) => child.once('exit', () => resolve()))
    for (const until = Date.now() + READY_WITHIN_MS; !(await isOpen(this.grpcPort)); await sleep(100)) {
      if (!this.isUp) throw new Error(`Temporal's ${this.name} ended; its log: ${join(this.folder, `${this.name}.log`)}`)
      if (Date.now() > until) throw new Error(`Temporal's ${this.name} did not open its port within ${READY_WITHIN_MS / 1000} s`)
    }
  }

  /** CPU time so far, ms (Linux). */
  cpuMs(): number {
    return this.earlierCpuMs + (this.isUp ? cpuMsOf(this.pid) : 0)
  }

  /** Sends a signal; after SIGKILL, waits for its end. */
  async signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    if (!this.isUp) return
    if (name === 'SIGKILL') this.earlierCpuMs = this.cpuMs()
    process.kill(this.pid, name)
    if (name === 'SIGKILL') await this.ended
  }

  async stop(): Promise<void> {
    if (!this.isUp) return
    await this.signal('SIGCONT')
    this.earlierCpuMs = this.cpuMs()
    await endProcess(this.child as ChildProcess, STOP_WITHIN_MS)
  }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
