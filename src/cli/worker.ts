/** softbounce worker: the worker process. */
import type { Command } from 'commander'
import { readSettings } from '../config/index.js'

export function addWorker(program: Command): void {
  program
    .command('worker')
    .description('run a worker until it is told to stop (SIGTERM, SIGINT)')
    .action(async () => {
      const settings = readSettings()
      // what only a worker needs is loaded only here: the other commands start in half the time
      const { runWorker } = await import('../worker.js')
      await runWorker(settings)
    })
}
