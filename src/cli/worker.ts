/** softbounce worker: the worker process. */
import type { Command } from 'commander'

export function addWorker(program: Command): void {
  program
    .command('worker')
    .description('run a worker until SIGTERM or SIGINT')
    .action(async () => {
      const { readSettings } = await import('../config/index.js')
      const settings = readSettings()
      const { runWorkerWith } = await import('../worker.js')
      await runWorkerWith(settings)
    })
}
