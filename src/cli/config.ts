import type { Command } from 'commander'
import { readSettings, showSettings } from '../config.js'
import { json, table } from './output.js'

export function addConfig(program: Command): void {
  program
    .command('config')
    .description('every setting, its value and where it came from; secrets are masked')
    .option('--json', 'print JSON, one object a line')
    .action((options: { json?: boolean }) => {
      const shown = showSettings()
      if (options.json) for (const setting of shown) json(setting)
      else table(shown.map(({ name, value, source }) => [name, value === '' ? '(none)' : value, source]))
      readSettings()
    })
}
