import type { Command } from 'commander'
import { readSettings } from '../config.js'
import { runWorker } from '../worker.js'

export function addWorker(program: Command): void {
  program
    .command('worker')
    .description('run a worker until it is told to stop (SIGTERM, SIGINT)')
    .action(() => runWorker(readSettings()))
}
